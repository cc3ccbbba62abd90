"""Parameters of the fixture `backend`, for tests that do not run on all backends."""

import pytest
import torch

from pose2seg_ops._extension import _C


def _missing() -> str:
    """Returns what the backend "cuda" lacks here, or an empty text."""
    if _C.cuda_version is None:
        return "pose2seg_ops was built without CUDA kernels"
    return "" if torch.cuda.is_available() else "no GPU"


#: The marks of a test on a GPU. Its fixtures are not made if it is skipped.
GPU_MARKS = [pytest.mark.cuda, pytest.mark.skipif(bool(_missing()), reason=_missing())]
ON_GPU = pytest.param("cuda", marks=GPU_MARKS)

#: Runs a test with the CUDA kernels: emulated on the CPU, and on a GPU if there is one.
with_cuda_kernels = pytest.mark.parametrize("backend", ["emulated", ON_GPU], indirect=True)
#: Runs a test that needs streams, graphs or memory of a GPU.
on_gpu_only = pytest.mark.parametrize("backend", [ON_GPU], indirect=True)
