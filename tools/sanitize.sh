#!/usr/bin/env bash
# The op tests on the CPU kernels and the emulated CUDA kernels, under AddressSanitizer and
# UndefinedBehaviorSanitizer. Python itself is not sanitized, so their runtimes are loaded before it.
set -euo pipefail
cd "$(dirname "$0")/.."

# Gradient checks and compilation call the same kernels on the same shapes again, a thousand times.
only="(cpu or emulated) and not finite_differences and not gradcheck and not compiles and not operator"

ops=$(python -c "import pose2seg_ops; print(*(op for op in pose2seg_ops.__all__ if op.islower()))")
tests=$(for op in $ops; do ls tests/test_"$op"*.py; done | sort -u)
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
    python -m pytest --sanitize -k "$only" "$@" $tests
