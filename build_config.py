"""What to build, and against what: the decisions of build_backend.py and setup.py. None needs torch."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The oldest and the newest release that have been built against and tested.
OLDEST_TORCH = "2.9.0"
NEWEST_TORCH = "2.14.1"

# The compute capabilities of the GPU generations that PyTorch's own binaries support.
CUDA_ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")

NVCC_FLAGS = [
    "-O3",
    "-std=c++17",
    "-Xcompiler=-fvisibility=hidden,-Wall,-Wextra",
    # torch takes the conversions and operators from CUDA's half types, for its own headers; no .cu has those.
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-U__CUDA_NO_HALF2_OPERATORS__",
    "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
]


class BuildError(SystemExit):
    """Ends the build with a message for the user: as a SystemExit it is shown without a traceback."""


@dataclass(frozen=True)
class CudaToolkit:
    root: Path
    version: str
    architectures: tuple[str, ...]  # compute capabilities that its nvcc compiles for, such as "9.0"

    @property
    def nvcc(self) -> Path:
        return self.root / "bin" / "nvcc"


def torch_release() -> str | None:
    """The installed release of torch without its local part ("2.13.0" of "2.13.0+cpu"), or None."""
    try:
        return importlib.metadata.version("torch").partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_requirement() -> str:
    """The release that is built against; where there is none yet, the releases that have been tested."""
    release = torch_release()
    return f"torch=={release}" if release else f"torch>={OLDEST_TORCH},<={NEWEST_TORCH}"


def check_torch(release: str | None) -> None:
    """Raises BuildError where there is no torch, or an older one than has been tested."""
    if release is None:
        raise BuildError(
            "pose2seg_ops is built against the torch of its environment, and here is none. To install one:\n"
            f'    pip install "{torch_requirement()}"'
        )
    if _major_minor(release) < _major_minor(OLDEST_TORCH):
        raise BuildError(f"pose2seg_ops needs torch {OLDEST_TORCH} or newer, and here is torch {release}.")


def _major_minor(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".")[:2])


def check_compiler(compiler: str, python_headers: Path) -> None:
    """Raises BuildError where the C++ compiler or Python.h is missing."""
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
    """What makes Clang inline all that csrc/cpu/instruction_set.h has flattened, as g++ does by itself."""
    return ["-mllvm", "-inline-threshold=100000"] if "clang" in _output(compiler, "--version") else []


def find_cuda_toolkit(environment: Mapping[str, str]) -> CudaToolkit | None:
    """The toolkit in CUDA_HOME; where that is not set, of the nvcc on PATH, else in /usr/local/cuda."""
    home = environment.get("CUDA_HOME") or environment.get("CUDA_PATH")
    candidates = [f"{home}/bin/nvcc"] if home else ["nvcc", "/usr/local/cuda/bin/nvcc"]
    found = (shutil.which(name, path=environment.get("PATH")) for name in candidates)
    nvcc = next(filter(None, found), None)
    if nvcc is None:
        return None
    version = re.search(r"release (\d+\.\d+)", _output(nvcc, "--version"))
    # The nvcc on PATH may be a wrapper script anywhere; in a dry run the real one says where it stands.
    top = re.search(r"TOP=(.*)", _output(nvcc, "--dryrun", "-x", "cu", os.devnull))
    if version is None or top is None:
        return None
    names = re.findall(r"compute_(\d+)(\d)\b", _output(nvcc, "--list-gpu-arch"))
    architectures = tuple(f"{major}.{minor}" for major, minor in names)
    return CudaToolkit(Path(home or top[1]).resolve(), version[1], architectures)


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def why_no_cuda(
    switch: str, torch_cuda: str | None, torch_hip: str | None, toolkit: CudaToolkit | None
) -> str | None:
    """Decides about the CUDA kernels: None where they are to be built, else the reason why they are not.

    Args:
        switch: the value of POSE2SEG_CUDA.
        torch_cuda, torch_hip: torch.version.cuda and torch.version.hip.

    Raises:
        BuildError: the switch is unknown or asks for what is impossible, or nvcc does not fit torch.
    """
    if switch not in ("auto", "0", "1"):
        raise BuildError(f"POSE2SEG_CUDA must be auto, 0 or 1, got {switch!r}")
    if switch == "0":
        return "POSE2SEG_CUDA=0"
    if torch_cuda is None:
        reason = f"torch is a {'ROCm' if torch_hip else 'CPU'} build"
        if switch == "1":
            raise BuildError(
                f"POSE2SEG_CUDA=1, but {reason}.\n"
                "Install a torch for CUDA (https://pytorch.org/get-started/locally), or set POSE2SEG_CUDA=0."
            )
        return reason
    install = (
        f"install the CUDA {torch_cuda} toolkit (https://developer.nvidia.com/cuda-toolkit-archive, "
        f"or conda install -c conda-forge cuda-toolkit cuda-version={torch_cuda})"
    )
    if toolkit is None:
        reason = "no working nvcc was found, neither in CUDA_HOME nor on PATH"
        if switch == "1":
            raise BuildError(f"POSE2SEG_CUDA=1, but {reason}.\nEither {install},\nor set CUDA_HOME to one.")
        return reason
    if _major_minor(toolkit.version)[0] != _major_minor(torch_cuda)[0]:
        raise BuildError(
            f"nvcc is of CUDA {toolkit.version} (in {toolkit.root}), but torch is of CUDA {torch_cuda}.\n"
            f"Either {install},\n"
            "or set CUDA_HOME to such a toolkit where there is one already,\n"
            "or set POSE2SEG_CUDA=0 to build without CUDA kernels."
        )
    return None


def cuda_architectures(requested: str | None, toolkit: CudaToolkit) -> list[str]:
    """TORCH_CUDA_ARCH_LIST as a list; where it is not set, all that nvcc can, and PTX for newer GPUs."""
    if requested:
        return requested.replace(" ", ";").split(";")
    *older, newest = (name for name in CUDA_ARCHITECTURES if name in toolkit.architectures)
    return [*older, f"{newest}+PTX"]


def max_jobs() -> int:
    """Compiler processes to run at once: one a core, each with the 2 GiB that torch's headers can take."""
    return max(1, min(len(os.sched_getaffinity(0)), _available_memory() // (2 << 30)))


def _available_memory() -> int:
    """Bytes that new processes can have: of the machine, and of the container where there is one."""
    kibibytes = re.search(r"MemAvailable: *(\d+)", Path("/proc/meminfo").read_text())
    available = int(kibibytes[1]) * 1024 if kibibytes else 0
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and limit.read_text().strip() != "max":
        available = min(
            available, int(limit.read_text()) - int(limit.with_name("memory.current").read_text())
        )
    return available
