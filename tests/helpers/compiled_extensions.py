"""Compiles other builds of the extension: the CUDA kernels emulated on the CPU, and both backends with
sanitizers."""

import importlib.util
import platform
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from filelock import FileLock
from paths import ROOT

sys.path.append(str(ROOT))
import build_config
import compile_extension

CSRC = compile_extension.CSRC
EMULATION = ROOT / "tests" / "cuda" / "emulation"

# An error ends the process, so that a test run cannot miss it.
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=vptr", "-g1"]


# nvcc fuses a * b + c into one rounding, so the emulation does as well. At -O1, g++ only fuses with
# -fexpensive-optimizations. nvcc includes cuda_runtime.h on its own.
LIKE_NVCC = [
    "-fexpensive-optimizations",
    "-ffp-contract=fast",
    *["-mfma"] * (platform.machine() == "x86_64"),
    *("-include", "cuda_runtime.h"),
]


def load_emulated(sanitize: bool) -> ModuleType:
    """Returns the CUDA kernels, compiled by the host compiler against the headers of tests/cuda/emulation."""
    kernels = [
        *sorted(CSRC.glob("cuda/*.cu")),
        CSRC / "cpu" / "parallel.cpp",
        CSRC / "cpu" / "instruction_set.cpp",
    ]
    return _load("emulated", [*kernels, *sorted(EMULATION.glob("*.cpp"))], sanitize, LIKE_NVCC)


def load_sanitized_cpu() -> ModuleType:
    """Returns the CPU kernels, compiled with AddressSanitizer and UndefinedBehaviorSanitizer."""
    return _load("cpu", sorted(CSRC.glob("cpu/*.cpp")), sanitize=True)


def _load(kind: str, kernels: list[Path], sanitize: bool, flags: Sequence[str] = ()) -> ModuleType:
    """Builds an extension with these kernels (half a minute; later only what changed) and imports it."""
    name = f"pose2seg_ops_{kind}"  # also the namespace of its operators under torch.ops
    folder = ROOT / "build" / f"{kind}{'-sanitized' * sanitize}-{sysconfig.get_config_var('SOABI')}"
    extension = compile_extension.Extension(
        name,
        sources=[*sorted(CSRC.glob("ops/*.cpp")), *kernels],
        include=[EMULATION / "include", Path(sysconfig.get_path("include"))],
        flags=["-O1", "-g0", "-Wno-unknown-pragmas", *flags, *SANITIZERS * sanitize],
        link_flags=SANITIZERS[:1] * sanitize,
    )
    library = folder / f"{name}.so"
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes may run tests at once, of which one compiles.
    with FileLock(folder / "lock"), pytest.MonkeyPatch.context() as environment:
        environment.delenv("LD_PRELOAD", raising=False)  # preloaded sanitizers would slow the compiler down
        compile_extension.build(extension, folder, library, build_config.max_jobs({}))
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.initialize(torch)
    return module
