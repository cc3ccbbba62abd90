from typing import Any

cuda_version: str | None  # of the toolkit that compiled the CUDA kernels, "13.0"; None where there are none
cuda_architectures: str | None  # of the CUDA kernels: "7.5 ... 12.0+PTX"

def initialize(torch: Any) -> None: ...
