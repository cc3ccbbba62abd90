"""Writes the resource usage of every CUDA kernel into docs/kernels.md, or checks that it is up to date.

    python tools/kernel_report.py            # writes the table
    python tools/kernel_report.py --check    # fails if the table is out of date

It reads the kernels of the installed pose2seg_ops, which must be built with them. Both fail if a kernel
spills registers or uses local memory, or if one that requires 16-byte loads from global memory has none.
Needs c++filt, and cuobjdump and nvdisasm of the CUDA toolkit (or of the packages nvidia-cuda-cuobjdump and
nvidia-cuda-nvdisasm).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pose2seg_ops._extension import _C

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "kernels.md"
BEGIN, END = "<!-- kernel_report.py: begin -->", "<!-- kernel_report.py: end -->"

# Kernels whose source requires 16-byte loads from global memory.
WIDE_LOADS = re.compile(r"(align_channels_last|align_staged|gather_channels_last|sum_tiles)<.*, [248]>")


@dataclass(frozen=True)
class Architecture:
    """The resources of a streaming multiprocessor, from the CUDA C++ programming guide, "Compute
    Capabilities"."""

    name: str
    warps: int
    blocks: int
    shared_bytes: int
    reserved_bytes: int  # shared memory of the system, which cuobjdump adds to that of a kernel

    def resident_warps(self, kernel: Kernel) -> int:
        """Returns the resident warps, limited by threads, blocks, registers and shared memory; only full
        blocks count."""
        warps = kernel.threads // 32
        # Registers are allocated to a warp in units of 256, from its own quarter of the 65536.
        registers = -(-kernel.registers * 32 // 256) * 256
        by_registers = 4 * (65536 // 4 // registers) // warps
        by_shared = self.shared_bytes // (kernel.shared_bytes + 1024)  # 1 KiB is reserved by the system
        return warps * min(self.warps // warps, self.blocks, by_registers, by_shared)


ARCHITECTURES = (
    Architecture("8.0", warps=64, blocks=32, shared_bytes=164 << 10, reserved_bytes=0),
    Architecture("9.0", warps=64, blocks=32, shared_bytes=228 << 10, reserved_bytes=1024),
    Architecture("12.0", warps=48, blocks=24, shared_bytes=100 << 10, reserved_bytes=1024),
)


@dataclass(frozen=True)
class Kernel:
    name: str
    threads: int  # maximum per block, from __launch_bounds__
    registers: int
    shared_bytes: int  # static
    local_bytes: int  # stack and spills
    sass: str  # only of kernels that require 16-byte loads

    def faults(self) -> Iterator[str]:
        if self.local_bytes:
            yield f"uses local memory ({self.local_bytes} bytes of stack and spills)"
        if WIDE_LOADS.search(self.name) and not re.search(r"\bLDG\.E\.(\w+\.)*128\b", self.sass):
            yield "must have 16-byte loads from global memory, got none"


def put_on_path(program: str) -> None:
    """Extends PATH by the folder of a program of the CUDA toolkit, or of the package that carries it."""
    search = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/local/cuda/bin"
    if not shutil.which(program, path=search):
        package = f"nvidia-cuda-{program}"
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            sys.exit(f"{program} was not found: pip install {package}")
        file = next(Path(str(file.locate())) for file in files if file.name == program)
        file.chmod(file.stat().st_mode | 0o111)  # it is not executable in the wheel
        search += f"{os.pathsep}{file.parent}"
    os.environ["PATH"] = search


def output_of(*command: str) -> str:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{result.stdout}")
    return result.stdout


def readable(mangled: Sequence[str]) -> list[str]:
    """Returns `align_planes<half, int64, true>` for `_ZN8pose2seg12align_planesI6__halflLb1EEEv...`."""
    names = []
    for line in output_of("c++filt", *mangled).splitlines():
        name = re.sub(r"\(anonymous namespace\)::|pose2seg::|^void ", "", line).partition("(")[0]
        for ugly, plain in (
            ("__nv_bfloat16", "bfloat16"),
            ("__half", "half"),
            ("long", "int64"),
            ("int,", "int32,"),
        ):
            name = name.replace(ugly, plain)
        names.append(name)
    return names


def read_kernels(extension: str, architecture: Architecture) -> dict[str, Kernel]:
    """Returns the kernels of an extension by name."""
    target = f"sm_{architecture.name.replace('.', '')}"
    usage = re.findall(
        r"Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)",
        output_of("cuobjdump", "-res-usage", "-arch", target, extension),
    )
    if not usage:
        sys.exit(f"{extension} has no kernels for {target}: build it with CUDA kernels for all architectures")
    mangled = [function for function, *_ in usage]
    names = dict(zip(mangled, readable(mangled), strict=True))
    # Every architecture has the same bounds of threads, and PTX is there only for the newest.
    ptx = output_of("cuobjdump", "-ptx", extension)
    threads = dict(re.findall(r"\.entry (\w+)\([^{]*?\.maxntid (\d+)", ptx))
    wide = [function for function, name in names.items() if WIDE_LOADS.search(name)]
    listing = output_of("cuobjdump", "-sass", "-arch", target, "-fun", ",".join(wide), extension)
    sections = re.split(r"Function : (\w+)\n", listing)
    sass = dict(zip(sections[1::2], sections[2::2], strict=True))
    return {
        names[function]: Kernel(
            name=names[function],
            threads=int(threads[function]),
            registers=int(registers),
            shared_bytes=max(0, int(shared) - architecture.reserved_bytes),
            local_bytes=int(stack) + int(local),
            sass=sass.get(function, ""),
        )
        for function, registers, stack, shared, local in usage
    }


def sources_of_kernels() -> dict[str, Path]:
    """Returns the file that defines each kernel, by the name without template arguments."""
    return {
        name: source
        for source in sorted((ROOT / "csrc" / "cuda").iterdir())
        for name in re.findall(r"__global__ void __launch_bounds__\(.*\)\s+(\w+)\(const", source.read_text())
    }


def table(reports: Mapping[Architecture, Mapping[str, Kernel]]) -> Iterator[str]:
    """Yields Markdown: a table for each source file that has kernels."""
    names = " / ".join(architecture.name for architecture in ARCHITECTURES)
    sources = sources_of_kernels()
    by_source: dict[Path, list[str]] = {}
    for name in sorted(reports[ARCHITECTURES[0]]):
        by_source.setdefault(sources[name.partition("<")[0]], []).append(name)
    for source, members in sorted(by_source.items()):
        yield f"\n### {source.relative_to(ROOT)}\n"
        yield f"| kernel | threads | registers {names} | static shared bytes | occupancy {names} |"
        yield "| --- | --- | --- | --- | --- |"
        for name in members:
            kernels = [reports[architecture][name] for architecture in ARCHITECTURES]
            registers = " / ".join(str(kernel.registers) for kernel in kernels)
            occupancy = " / ".join(
                f"{architecture.resident_warps(kernel) / architecture.warps:.0%}"
                for architecture, kernel in zip(ARCHITECTURES, kernels, strict=True)
            )
            shared = max(kernel.shared_bytes for kernel in kernels)
            yield f"| `{name}` | {kernels[0].threads} | {registers} | {shared} | {occupancy} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the table is out of date"
    )
    check = parser.parse_args().check
    if _C.cuda_version is None:
        sys.exit(f"{_C.__file__} must be built with CUDA kernels")
    put_on_path("cuobjdump")
    put_on_path("nvdisasm")  # cuobjdump runs it
    reports = {architecture: read_kernels(str(_C.__file__), architecture) for architecture in ARCHITECTURES}
    faults = [
        f"{kernel.name} on {architecture.name}: {fault}"
        for architecture, kernels in reports.items()
        for kernel in kernels.values()
        for fault in kernel.faults()
    ]
    if faults:
        sys.exit("\n".join(faults))

    document = DOCUMENT.read_text()
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [f"nvcc {_C.cuda_version}. No kernel spills a register or uses local memory.", *table(reports)]
    current = f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"
    if not check:
        DOCUMENT.write_text(current)
    elif f"nvcc {_C.cuda_version}." not in document:
        print(f"docs/kernels.md is of another nvcc than {_C.cuda_version}: the figures are not compared")
    elif document != current:
        sys.exit("docs/kernels.md is out of date: run python tools/kernel_report.py")


if __name__ == "__main__":
    main()
