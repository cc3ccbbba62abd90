"""Other builds of the extension: one runs the CUDA kernels on the CPU; both come with sanitizers."""

import importlib.util
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
import build_config  # noqa: E402
import compile_extension  # noqa: E402

CSRC = compile_extension.CSRC
EMULATION = ROOT / "tests" / "cuda_emulation"

# An error ends the process: a test run cannot overlook it.
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=vptr", "-g1"]


def load_emulated(sanitize: bool) -> ModuleType:
    """The CUDA kernels compiled by the host compiler against stand-in CUDA headers; see cuda_emulation."""
    kernels = [
        *sorted(CSRC.glob("cuda/*.cu")),
        CSRC / "cpu" / "parallel.cpp",
        CSRC / "cpu" / "instruction_set.cpp",
    ]
    return _load("emulated", [*kernels, *sorted(EMULATION.glob("*.cpp"))], sanitize)


def load_sanitized_cpu() -> ModuleType:
    """The CPU kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return _load("cpu", sorted(CSRC.glob("cpu/*.cpp")), sanitize=True)


def _load(kind: str, kernels: list[Path], sanitize: bool) -> ModuleType:
    """Builds an extension with these kernels (half a minute; then only what has changed) and imports it."""
    name = f"pose2seg_ops_{kind}"  # of the extension, and of its operators under torch.ops
    folder = ROOT / "build" / f"{kind}{'-sanitized' * sanitize}-{sysconfig.get_config_var('SOABI')}"
    extension = compile_extension.Extension(
        name,
        sources=[*sorted(CSRC.glob("ops/*.cpp")), *kernels],
        include=[EMULATION / "include"],
        flags=["-O1", "-g0", "-Wno-unknown-pragmas", *SANITIZERS * sanitize],
        link_flags=SANITIZERS[:1] * sanitize,
    )
    library = folder / f"{name}.so"
    compile_extension.build(extension, folder, library, build_config.max_jobs({}))
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.initialize(torch)
    return module
