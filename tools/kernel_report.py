"""Writes the resource usage of every CUDA kernel into docs/kernels.md, or checks that it is up to date.

    python tools/kernel_report.py            # writes the table
    python tools/kernel_report.py --check    # fails if the table is out of date

Both fail if a kernel spills registers or uses local memory, or if one that requires 16-byte loads from global
memory has none. Needs nvcc, c++filt and nvdisasm (from the CUDA toolkit, or pip install
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
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
import build_config  # noqa: E402

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
    Architecture("8.0", warps=64, blocks=32, shared_bytes=164 << 10),
    Architecture("9.0", warps=64, blocks=32, shared_bytes=228 << 10),
    Architecture("12.0", warps=48, blocks=24, shared_bytes=100 << 10),
)


@dataclass(frozen=True)
class Kernel:
    name: str
    threads: int  # maximum per block, from __launch_bounds__
    registers: int
    shared_bytes: int  # static
    local_bytes: int  # stack and spills
    sass: str

    def faults(self) -> Iterator[str]:
        if self.local_bytes or re.search(r"\b(LDL|STL)\b", self.sass):
            yield f"uses local memory ({self.local_bytes} bytes of stack and spills)"
        if WIDE_LOADS.search(self.name) and not re.search(r"\bLDG\.E\.(\w+\.)*128\b", self.sass):
            yield "must have 16-byte loads from global memory, got none"


def find_nvdisasm(toolkit: build_config.CudaToolkit) -> str:
    found = shutil.which("nvdisasm", path=f"{toolkit.root}/bin{os.pathsep}{os.environ.get('PATH', '')}")
    if found:
        return found
    try:
        files = importlib.metadata.files("nvidia-cuda-nvdisasm") or []
    except importlib.metadata.PackageNotFoundError:
        sys.exit("nvdisasm was not found: pip install nvidia-cuda-nvdisasm")
    program = next(Path(str(file.locate())) for file in files if file.name == "nvdisasm")
    program.chmod(program.stat().st_mode | 0o111)  # it is not executable in the wheel
    return str(program)


def output_of(*command: str) -> str:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{result.stdout}")
    return result.stdout


def readable(mangled: str) -> str:
    """Returns `align_planes<half, int64, true>` for `_ZN8pose2seg12align_planesI6__halflLb1EEEv...`."""
    name = output_of("c++filt", mangled).strip().removeprefix("void ")
    name = re.sub(r"\(anonymous namespace\)::|pose2seg::", "", name).partition("(")[0]
    for ugly, plain in (
        ("__nv_bfloat16", "bfloat16"),
        ("__half", "half"),
        ("long", "int64"),
        ("int,", "int32,"),
    ):
        name = name.replace(ugly, plain)
    return name


def compile_kernels(nvcc: Path, nvdisasm: str, source: Path, architecture: Architecture) -> dict[str, Kernel]:
    """Returns the kernels of one file by name."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = f"{folder}/kernels.cubin"
        target = f"-arch=sm_{architecture.name.replace('.', '')}"
        keep = ["--keep", f"--keep-dir={folder}", f"-I{ROOT}/csrc"]
        report = output_of(
            str(nvcc),
            "-cubin",
            target,
            *build_config.NVCC_FLAGS,
            *keep,
            "-Xptxas=-v",
            str(source),
            "-o",
            cubin,
        )
        sections = re.split(r"\.section\s+\.text\.(\w+),.*\n", output_of(nvdisasm, "-c", cubin))
        ptx = (Path(folder) / f"{source.stem}.ptx").read_text()
    sass = dict(zip(sections[1::2], sections[2::2], strict=True))
    threads = dict(re.findall(r"\.entry (\w+)\([^{]*?\.maxntid (\d+)", ptx))
    kernels = {}
    for entry in re.split(r"Compiling entry function '", report)[1:]:
        mangled = entry.partition("'")[0]
        frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", entry)
        registers, shared = re.search(r"Used (\d+) registers", entry), re.search(r"(\d+) bytes smem", entry)
        assert frame is not None
        assert registers is not None
        kernels[readable(mangled)] = Kernel(
            name=readable(mangled),
            threads=int(threads[mangled]),
            registers=int(registers[1]),
            shared_bytes=int(shared[1]) if shared else 0,
            local_bytes=int(frame[1]) + int(frame[2]),
            sass=sass[mangled],
        )
    return kernels


def table(reports: dict[tuple[Path, Architecture], dict[str, Kernel]]) -> Iterator[str]:
    """Yields Markdown: a table for each source file that has kernels."""
    names = " / ".join(architecture.name for architecture in ARCHITECTURES)
    for source in sorted({source for (source, _), kernels in reports.items() if kernels}):
        yield f"\n### {source.relative_to(ROOT)}\n"
        yield f"| kernel | threads | registers {names} | static shared bytes | occupancy {names} |"
        yield "| --- | --- | --- | --- | --- |"
        for name in sorted(reports[source, ARCHITECTURES[0]]):
            kernels = [reports[source, architecture][name] for architecture in ARCHITECTURES]
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
    toolkit = build_config.find_cuda_toolkit(os.environ)
    if toolkit is None:
        sys.exit("nvcc was not found, neither in CUDA_HOME nor on PATH: install a CUDA toolkit")
    nvcc, nvdisasm = toolkit.nvcc, find_nvdisasm(toolkit)

    jobs = list(product(sorted((ROOT / "csrc" / "cuda").glob("*.cu")), ARCHITECTURES))
    with ThreadPoolExecutor(build_config.max_jobs(os.environ)) as pool:
        reports = dict(
            zip(jobs, pool.map(lambda job: compile_kernels(nvcc, nvdisasm, *job), jobs), strict=True)
        )
    faults = [
        f"{kernel.name} on {architecture.name}: {fault}"
        for (_, architecture), kernels in reports.items()
        for kernel in kernels.values()
        for fault in kernel.faults()
    ]
    if faults:
        sys.exit("\n".join(faults))

    document = DOCUMENT.read_text()
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [f"nvcc {toolkit.version}. No kernel spills a register or uses local memory.", *table(reports)]
    current = f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"
    if not check:
        DOCUMENT.write_text(current)
    elif f"nvcc {toolkit.version}." not in document:
        print(f"docs/kernels.md is of another nvcc than {toolkit.version}: the figures are not compared")
    elif document != current:
        sys.exit("docs/kernels.md is out of date: run python tools/kernel_report.py")


if __name__ == "__main__":
    main()
