"""The CUDA kernels on the CPU: the very .cu files, compiled by g++ against stand-in CUDA headers.

The emulated extension has the ops and bindings of the real one; only the functions that would run the
CPU kernels run the CUDA kernels instead, every thread of every block, with its launch geometry, barriers
and shuffles. A tool for correctness; it says nothing about speed.
"""

from pathlib import Path
from types import ModuleType

import torch
from torch.utils.cpp_extension import load

HERE = Path(__file__).parent
NAME = "pose2seg_ops_emulated"  # of the extension, and of its operators under torch.ops
CSRC = HERE.parents[1] / "csrc"


def load_emulated_extension() -> ModuleType:
    """Builds (about a minute; only what has changed) and imports the emulated twin of pose2seg_ops._C."""
    folder = HERE / "build" / f"torch-{torch.__version__}"
    folder.mkdir(parents=True, exist_ok=True)
    kernels = [_as_host_source(path, folder) for path in sorted((CSRC / "cuda").glob("*.cu"))]
    sources = [
        CSRC / "bindings.cpp",
        *sorted((CSRC / "ops").glob("*.cpp")),
        *sorted(HERE.glob("*.cpp")),
        *kernels,
    ]
    return load(
        name=NAME,
        sources=[str(path) for path in sources],
        extra_include_paths=[str(HERE / "include"), str(CSRC)],
        extra_cflags=["-O1", "-g0", "-fvisibility=hidden", f"-DPOSE2SEG_LIBRARY={NAME}"],
        build_directory=str(folder),
    )


def _as_host_source(kernel: Path, folder: Path) -> Path:
    """A .cpp file that includes the .cu file, so that the host compiler takes it."""
    source = folder / f"{kernel.stem}_kernel.cpp"
    text = f'#include "{kernel}"\n'
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    return source
