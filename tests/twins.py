"""Twins of the extension `pose2seg_ops._C`: one runs the CUDA kernels on the CPU; both come sanitized."""

from pathlib import Path
from types import ModuleType

import torch
from torch.utils.cpp_extension import load

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
EMULATION = ROOT / "tests" / "cuda_emulation"

# An error ends the process: a test run cannot overlook it.
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=vptr", "-g1"]


def load_emulated(sanitize: bool) -> ModuleType:
    """The CUDA kernels compiled by the host compiler against stand-in CUDA headers; see cuda_emulation."""
    return _load("emulated", "cuda/*.cu", sorted(EMULATION.glob("*.cpp")), sanitize)


def load_sanitized_cpu() -> ModuleType:
    """The CPU kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return _load("cpu", "cpu/*.cpp", [], sanitize=True)


def _load(kind: str, kernels: str, others: list[Path], sanitize: bool) -> ModuleType:
    """Builds (about a minute; afterwards only what has changed) and imports a twin with these kernels."""
    name = f"pose2seg_ops_{kind}"  # of the extension, and of its operators under torch.ops
    folder = ROOT / "build" / f"{kind}{'-sanitized' * sanitize}-torch-{torch.__version__}"
    folder.mkdir(parents=True, exist_ok=True)
    sources = [CSRC / "bindings.cpp", *sorted((CSRC / "ops").glob("*.cpp")), *others]
    sources += [_as_host_source(path, folder) for path in sorted(CSRC.glob(kernels))]
    flags = ["-O1", "-g0", "-fvisibility=hidden", "-fopenmp", "-ffp-contract=off"]
    flags += [f"-DPOSE2SEG_LIBRARY={name}"]
    return load(
        name=name,
        sources=[str(path) for path in sources],
        extra_include_paths=[str(EMULATION / "include"), str(CSRC)],
        extra_cflags=flags + SANITIZERS * sanitize,
        extra_ldflags=SANITIZERS[:1] * sanitize,
        build_directory=str(folder),
    )


def _as_host_source(kernel: Path, folder: Path) -> Path:
    """A .cpp file that includes the kernel's: g++ then takes a .cu, and no two objects have one name."""
    source = folder / f"{kernel.stem}_kernel.cpp"
    text = f'#include "{kernel}"\n'
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    return source
