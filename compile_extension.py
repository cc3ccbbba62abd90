"""Compiles C++ and CUDA sources into a Python extension module with ninja, which rebuilds only what
changed."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ninja
import pybind11
from ninja.ninja_syntax import Writer

import build_config

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"

#: The sources that include the headers of Python. The others need not be recompiled for another Python.
PYTHON_SOURCES = [CSRC / "bindings.cpp", *sorted((CSRC / "python").glob("*.cpp"))]

# No contraction, so that a formula is rounded in the same way wherever it is compiled.
CXX_FLAGS = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-fopenmp-simd", "-ffp-contract=off"]
CXX_FLAGS += ["-Wall", "-Wextra"]


@dataclass
class Extension:
    """The sources and flags of an extension module."""

    name: str  # name of the module, without a package
    sources: Sequence[Path]  # compiled as C++ whatever their suffix, in addition to PYTHON_SOURCES
    flags: Sequence[str]
    include: Sequence[Path] = ()  # include folders that precede csrc
    python_flags: Sequence[str] = ()  # additional flags for PYTHON_SOURCES
    link_flags: Sequence[str] = ()
    nvcc: Path | None = None  # needed for cuda_sources
    cuda_sources: Sequence[Path] = ()
    cuda_flags: Sequence[str] = ()


def build(extension: Extension, folder: Path, library: Path, jobs: int) -> None:
    """Compiles `extension` into the file `library`; object files are kept in `folder`.

    Raises:
        subprocess.CalledProcessError: if a source does not compile; the compiler has printed the reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library.parent.mkdir(parents=True, exist_ok=True)
    with (folder / "build.ninja").open("w") as file:
        writer = Writer(file, width=1000)  # type: ignore[arg-type]  # annotated as a string
        _write_rules(writer, extension, folder, library.resolve())
    command = [str(Path(ninja.BIN_DIR, "ninja")), "-C", str(folder), f"-j{jobs}", "--quiet"]
    subprocess.run(command, check=True)


def _write_rules(writer: Writer, extension: Extension, folder: Path, library: Path) -> None:
    compiler = os.environ.get("CXX", "c++")
    flags = [*CXX_FLAGS, *extension.flags, *(f"-I{path}" for path in (*extension.include, CSRC))]
    python = [f"-isystem{pybind11.get_include()}", f"-isystem{sysconfig.get_path('include')}"]
    python += [f"-DPOSE2SEG_MODULE={extension.name}", *extension.python_flags]
    _write_compiler(writer, "cxx", f"{compiler} $python -x c++", flags)
    linker = f"{compiler} -shared"
    if extension.nvcc is not None:
        nvcc = f"{extension.nvcc} -ccbin {compiler}"
        _write_compiler(writer, "cuda", nvcc, [*build_config.NVCC_FLAGS, *extension.cuda_flags, f"-I{CSRC}"])
        linker = f"{nvcc} -shared --cudart=static"
    writer.rule("link", f"{linker} $in -o $out {' '.join(extension.link_flags)} -ldl")

    objects: list[str] = []
    rules = {source: "cxx" for source in (*PYTHON_SOURCES, *extension.sources)}
    for source, rule in (rules | dict.fromkeys(extension.cuda_sources, "cuda")).items():
        objects.append(str(folder / "objects" / f"{source.parent.name}_{source.name}.o"))
        variables = {"python": " ".join(python)} if source in PYTHON_SOURCES else None
        writer.build([objects[-1]], rule, [str(source)], variables=variables)
    writer.build([str(library)], "link", objects)


def _write_compiler(writer: Writer, rule: str, command: str, flags: Sequence[str]) -> None:
    """Writes a rule whose outputs are rebuilt if a header changes."""
    command = f"{command} -MD -MF $out.d {' '.join(flags)} -c $in -o $out"
    writer.rule(rule, command, depfile="$out.d", deps="gcc")
