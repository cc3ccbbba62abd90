"""The build configuration: the compiler, the CUDA toolkit and the GPU architectures that setup.py uses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The compute capabilities of the GPU generations that PyTorch's own binaries support.
CUDA_ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")

NVCC_FLAGS = ["-O3", "-std=c++17", "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra"]


class BuildError(SystemExit):
    """Ends the build with a message for the user; a SystemExit is shown without a traceback."""


@dataclass(frozen=True)
class CudaToolkit:
    root: Path
    version: str
    architectures: tuple[str, ...]  # compute capabilities that its nvcc compiles for, such as "9.0"

    @property
    def nvcc(self) -> Path:
        return self.root / "bin" / "nvcc"


def check_compiler(compiler: str, python_headers: Path) -> None:
    """Raises BuildError if the C++ compiler or Python.h is missing."""
    if shutil.which(compiler) is None:
        raise BuildError(
            f"pose2seg_ops needs a C++ compiler, and {compiler!r} was not found. To install one:\n"
            "    apt install g++    or    dnf install gcc-c++    or    conda install -c conda-forge gxx"
        )
    if not (python_headers / "Python.h").exists():
        raise BuildError(
            f"pose2seg_ops needs Python's headers, and {python_headers} has no Python.h. To install them:\n"
            "    apt install python3-dev    or    dnf install python3-devel    (conda's Python has them)"
        )


def inlining_flags(compiler: str) -> list[str]:
    """Returns the flags with which Clang inlines everything that csrc/cpu/instruction_set.h flattens, as g++
    does."""
    return ["-mllvm", "-inline-threshold=100000"] if "clang" in _output(compiler, "--version") else []


def find_cuda_toolkit(environment: Mapping[str, str]) -> CudaToolkit | None:
    """Finds the toolkit in CUDA_HOME or, if it is not set, that of the nvcc on PATH or in /usr/local/cuda."""
    home = environment.get("CUDA_HOME") or environment.get("CUDA_PATH")
    candidates = [f"{home}/bin/nvcc"] if home else ["nvcc", "/usr/local/cuda/bin/nvcc"]
    found = (shutil.which(name, path=environment.get("PATH")) for name in candidates)
    nvcc = next(filter(None, found), None)
    if nvcc is None:
        return None
    version = re.search(r"release (\d+\.\d+)", _output(nvcc, "--version"))
    # The nvcc on PATH may be a wrapper script anywhere; a dry run prints the folder of the real one.
    top = re.search(r"TOP=(.*)", _output(nvcc, "--dryrun", "-x", "cu", os.devnull))
    if version is None or top is None:
        return None
    names = re.findall(r"compute_(\d+)(\d)\b", _output(nvcc, "--list-gpu-arch"))
    architectures = tuple(f"{major}.{minor}" for major, minor in names)
    return CudaToolkit(Path(home or top[1]).resolve(), version[1], architectures)


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def wanted_toolkit(environment: Mapping[str, str]) -> CudaToolkit | None:
    """Returns the toolkit to compile CUDA kernels with, or None to build without them.

    The environment variable POSE2SEG_CUDA selects it: "auto", the default, uses a toolkit if one is found;
    "0" uses none; "1" requires one.

    Raises:
        BuildError: if POSE2SEG_CUDA has another value, or is "1" and no toolkit is found.
    """
    switch = environment.get("POSE2SEG_CUDA", "auto")
    if switch not in ("auto", "0", "1"):
        raise BuildError(f"POSE2SEG_CUDA must be auto, 0 or 1, got {switch!r}")
    toolkit = None if switch == "0" else find_cuda_toolkit(environment)
    if switch == "1" and toolkit is None:
        raise BuildError(
            "POSE2SEG_CUDA=1, but no working nvcc was found, neither in CUDA_HOME nor on PATH. Install a\n"
            "CUDA toolkit (https://developer.nvidia.com/cuda-downloads, or\n"
            "conda install -c conda-forge cuda-toolkit), or set CUDA_HOME to the folder of one."
        )
    return toolkit


def cuda_architectures(requested: str | None, toolkit: CudaToolkit) -> list[str]:
    """Returns TORCH_CUDA_ARCH_LIST as a list; by default, all architectures of nvcc, and PTX for newer
    GPUs."""
    if requested:
        return requested.replace(" ", ";").split(";")
    *older, newest = (name for name in CUDA_ARCHITECTURES if name in toolkit.architectures)
    return [*older, f"{newest}+PTX"]


def architecture_flags(architectures: list[str]) -> list[str]:
    """Returns the nvcc arguments for compute capabilities such as "9.0", or "12.0+PTX" for newer GPUs as
    well."""
    flags = []
    for architecture in architectures:
        number = architecture.replace(".", "").removesuffix("+PTX")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if architecture.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def max_jobs(environment: Mapping[str, str]) -> int:
    """Returns the number of parallel compiler processes: MAX_JOBS, or one per core available to this
    process."""
    return int(environment.get("MAX_JOBS") or len(os.sched_getaffinity(0)))
