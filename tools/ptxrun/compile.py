"""Compiles CUDA source to PTX with nvcc."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ptxrun.parse import PtxError


def compile_ptx(
    source: Path, architecture: str, options: Sequence[str] = (), nvcc: Path = Path("nvcc")
) -> str:
    """Returns the PTX of a .cu file, with its source lines, for an architecture such as "compute_80"."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "kernels.ptx"
        command = [
            str(nvcc),
            f"-arch={architecture}",
            "-ptx",
            "-lineinfo",
            *options,
            "-o",
            str(output),
            str(source),
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise PtxError(result.stderr)
        return output.read_text()
