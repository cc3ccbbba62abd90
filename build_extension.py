"""Compiles C++ and CUDA sources into an extension module of Python, with ninja: only what has changed."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ninja
import pybind11
from ninja.ninja_syntax import Writer, escape_path

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"

#: The sources that know Python; all others compile without its headers, and stay as they are for another Python.
PYTHON_SOURCES = [CSRC / "bindings.cpp", *sorted((CSRC / "python").glob("*.cpp"))]

# A formula that is written in two places has to round alike in both: no contraction.
CXX_FLAGS = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-fopenmp-simd", "-ffp-contract=off"]
CXX_FLAGS += ["-Wall", "-Wextra"]

NVCC_FLAGS = ["-O3", "-std=c++17", "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra"]


@dataclass
class Extension:
    """What an extension is made of. Sources in C++ may have any suffix; those in `cuda_sources` go to nvcc."""

    name: str  # of the module, without a package
    sources: Sequence[Path]  # besides PYTHON_SOURCES
    flags: Sequence[str]
    include: Sequence[Path] = ()  # folders, before csrc
    python_flags: Sequence[str] = ()  # for PYTHON_SOURCES
    link_flags: Sequence[str] = ()
    cuda_sources: Sequence[Path] = ()
    nvcc: Path | None = None
    cuda_flags: Sequence[str] = field(default_factory=list)


def build(extension: Extension, folder: Path, library: Path, jobs: int) -> None:
    """Compiles `extension` in `folder`, which keeps its objects, into the file `library`.

    Raises:
        subprocess.CalledProcessError: if a source does not compile; the compiler has said why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library.parent.mkdir(parents=True, exist_ok=True)
    with (folder / "build.ninja").open("w") as file:
        _write(Writer(file, width=1000), extension, folder, library.resolve())
    command = [str(Path(ninja.BIN_DIR, "ninja")), "-C", str(folder), f"-j{jobs}", "--quiet"]
    subprocess.run(command, check=True)


def _write(writer: Writer, extension: Extension, folder: Path, library: Path) -> None:
    compiler = os.environ.get("CXX", "c++")
    include = [f"-I{path}" for path in (*extension.include, CSRC)]
    flags = " ".join([*CXX_FLAGS, *extension.flags, *include])
    python_include = [f"-isystem{pybind11.get_include()}", f"-isystem{sysconfig.get_path('include')}"]
    python = " ".join([*python_include, f"-DPOSE2SEG_MODULE={extension.name}", *extension.python_flags])
    writer.rule(
        "cxx", f"{compiler} -MD -MF $out.d {flags} $python -x c++ -c $in -o $out", depfile="$out.d", deps="gcc"
    )
    linker = f"{compiler} -shared"
    if extension.nvcc is not None:
        cuda_flags = " ".join([*NVCC_FLAGS, *extension.cuda_flags, f"-I{CSRC}"])
        nvcc = f"{extension.nvcc} -ccbin {compiler}"
        writer.rule("cuda", f"{nvcc} -MD -MF $out.d {cuda_flags} -c $in -o $out", depfile="$out.d", deps="gcc")
        linker = f"{nvcc} -shared --cudart=static"
    writer.rule("link", f"{linker} $in -o $out {' '.join(extension.link_flags)} -ldl")

    objects = []
    for rule, sources in (("cxx", [*PYTHON_SOURCES, *extension.sources]), ("cuda", extension.cuda_sources)):
        for source in sources:
            target = folder / "objects" / f"{source.parent.name}_{source.name}.o"
            variables = {"python": python} if source in PYTHON_SOURCES else None
            objects += writer.build(escape_path(str(target)), rule, escape_path(str(source)), variables=variables)
    writer.build(escape_path(str(library)), "link", objects)
