#!/usr/bin/env bash
# On a machine with a GPU, a CUDA build of torch and nvcc: builds the package for that GPU, runs the tests of the
# CUDA kernels, times every contest, and writes docs/benchmarks-gpu.md with its plots. Arguments go to the report,
# such as --only affine_align. Fails where a test or a contest does.
set -euo pipefail
cd "$(dirname "$0")/.."

capability='import torch; print("%d.%d" % torch.cuda.get_device_capability() if torch.cuda.is_available() else "")'
gpu=$(python -c "$capability")
[ -n "$gpu" ] || { echo "benchmarks/gpu.sh: torch sees no GPU" >&2; exit 1; }

export POSE2SEG_CUDA=1 TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-$gpu}"
pip install --quiet --editable ".[test]"
failed=0
python -m pytest tests --ignore=tests/test_install.py -k "cuda and not emulat" || failed=1
python -m benchmarks.report --device cuda --output docs/benchmarks-gpu.md "$@" || failed=1
exit $failed
