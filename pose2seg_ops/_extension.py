"""Loads the compiled kernels, which work with any supported release of torch."""

import importlib.util

import torch

if not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
    raise ImportError(f"pose2seg_ops needs torch 2.10 or newer, got torch {torch.__version__}")
if importlib.util.find_spec("pose2seg_ops._C") is None:
    raise ImportError(
        "The kernels of pose2seg_ops have not been compiled for this Python. To compile them:\n"
        "    pip install --force-reinstall --no-deps pose2seg_ops\n"
        "or, in a checkout:\n"
        "    pip install -e ."
    )

from . import _C as _C

_C.initialize(torch)

#: The CUDA toolkit that compiled the CUDA kernels, such as "13.0", or None for a build without them.
CUDA_VERSION: str | None = _C.cuda_version
