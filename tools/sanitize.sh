#!/usr/bin/env bash
# Runs the op tests on the CPU kernels and the emulated CUDA kernels with AddressSanitizer and
# UndefinedBehaviorSanitizer. Python itself is not sanitized, so the runtimes of the sanitizers are preloaded.
set -euo pipefail
cd "$(dirname "$0")/.."

# Gradient checks and compilation would call the same kernels on the same shapes a thousand times.
only="(cpu or emulated) and not finite_differences and not gradcheck and not compiles and not operator and not opcheck"

ops=$(python -c "import pose2seg_ops; print(*(op for op in pose2seg_ops.__all__ if op.islower()))")
tests=$(for op in $ops; do ls tests/ops/test_"$op"*.py; done | sort -u)
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
    python -m pytest -n auto --sanitize -k "$only" "$@" $tests
