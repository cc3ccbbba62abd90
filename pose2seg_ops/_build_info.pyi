"""What the extension was built against. setup.py writes the module itself, beside the extension."""

TORCH_VERSION: str  # as torch.__version__ has it: "2.14.1+cu130"
CUDA_VERSION: str | None  # "13.0", or None where there are no CUDA kernels
CUDA_ARCHITECTURES: tuple[str, ...]  # of the CUDA kernels: ("7.5", ..., "12.0+PTX")
WHY_NO_CUDA: str | None  # where there are no CUDA kernels: the reason, as a clause
