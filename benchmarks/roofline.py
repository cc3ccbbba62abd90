"""`python -m benchmarks.roofline`: predicts how fast our CUDA kernels could be, as docs/roofline.md.

Nothing is timed. `--check` writes nothing, and fails if the document is out of date. `--ceilings FILE` prints
the predictions for the GPU whose ceilings `benchmarks/gpu/run correctness` has measured, from its
results.jsonl.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import counts, traffic
from benchmarks.case import OURS, Case, find_cases
from benchmarks.counts import Counts, Kernels

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "roofline.md"
_SECTOR = 32  # bytes


@dataclass(frozen=True)
class Work:
    """The work of a case on a GPU: bytes of memory traffic, and the counts of the launched kernels."""

    bytes: int
    kernels: Kernels  # empty if they were not counted

    @property
    def counts(self) -> Counts:
        return sum(self.kernels.values(), Counts())


@dataclass(frozen=True)
class Gpu:
    """The ceilings of a GPU.

    device: The name that `torch.cuda.get_device_name` returns.
    memory, l2: The bytes per second that a copy in memory, or within the L2 cache, reads and writes.
    multiprocessors, clock: The number of multiprocessors, and their highest clock rate in Hz.
    launch: The seconds that a kernel takes at least, in a CUDA graph.
    """

    name: str
    device: str
    memory: float
    l2: float
    multiprocessors: int
    clock: float
    launch: float = 2e-6

    def times(self, work: Work) -> dict[str, float]:
        """Returns the seconds that each resource needs; the longest is the time of all."""
        counts, cycles = work.counts, self.multiprocessors * self.clock
        return {
            "memory": work.bytes / self.memory,
            "L2": counts.l2_sectors * _SECTOR / self.l2,
            "L1": counts.l1_sectors / (4 * cycles),  # 128 bytes per cycle
            "issue": counts.instructions / (4 * cycles),  # by four schedulers
            "launch": len(work.kernels) * self.launch,
        }

    def seconds(self, work: Work) -> float:
        return max(self.times(work).values())

    def limit(self, work: Work) -> str:
        times = self.times(work)
        return max(times, key=times.__getitem__)


GPUS = (
    Gpu("A100 SXM 80 GB", "NVIDIA A100-SXM4-80GB", 1835e9, 5120 * 1.41e9, 108, 1.41e9),
    Gpu("H100 SXM", "NVIDIA H100 80GB HBM3", 3015e9, 5120 * 1.98e9, 132, 1.98e9),
    Gpu("H200 SXM", "NVIDIA H200", 4300e9, 5120 * 1.98e9, 132, 1.98e9),
)


def gpu_called(device: str) -> Gpu | None:
    """Returns the GPU with this `torch.cuda.get_device_name`, or None if it is unknown."""
    return next((gpu for gpu in GPUS if gpu.device == device), None)


def work_of(op: str, arguments: tuple[Any, ...], result: Any) -> Work | None:
    """Returns the work of an op, or None if docs/kernels.md has no counts.

    op: The op of a `Case`.
    arguments, result: The arguments and the result of its implementations.
    """
    if op not in traffic.MODELS or op not in counts.MODELS:
        return None
    return Work(traffic.MODELS[op](arguments, result), counts.MODELS[op](arguments, result))


def measured_gpu(lines: Iterable[str]) -> Gpu:
    """Returns the GPU of a results.jsonl, with the ceilings in it."""
    rows = [json.loads(line) for line in lines]
    device = next(row["value"] for row in rows if row.get("name") == "machine")
    gpu = gpu_called(device)
    if gpu is None:
        sys.exit(f"the GPU must be one of {', '.join(known.device for known in GPUS)}, got {device}")
    ceilings = {
        row["step"]: row["value"]
        for row in rows
        if row["step"] in ("memory", "l2", "launch") and "value" in row
    }
    return replace(gpu, **ceilings)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is out of date")
    parser.add_argument(
        "--ceilings", type=Path, metavar="FILE", help="print the predictions for measured ceilings"
    )
    options = parser.parse_args()
    known = [case for case in find_cases() if case.op in traffic.MODELS]
    if options.ceilings:
        with options.ceilings.open() as file:
            print(document(tqdm(known, unit="case"), [measured_gpu(file)]), end="")
        return
    current = document(tqdm(known, unit="case"), GPUS)
    if not options.check:
        _DOCUMENT.write_text(current)
    elif not _DOCUMENT.exists() or _DOCUMENT.read_text() != current:
        sys.exit("docs/roofline.md is out of date: run python -m benchmarks.roofline")


def document(cases: Iterable[Case], gpus: Sequence[Gpu]) -> str:
    return "\n".join([*_INTRODUCTION, *_ceilings(gpus), "", *_table(cases, gpus)]) + "\n"


_INTRODUCTION = """\
# How fast the CUDA kernels could be: a prediction

**Nothing here was measured on a GPU.** Written by `python -m benchmarks.roofline` for the inputs of the
benchmarks. A prediction is the longest of five times:

* memory: the bytes that an op must move, by the model of [kernels.md](kernels.md), at the rate of a large
  copy;
* L2: the sectors that the L2 cache serves, if a block loads each of its sectors once and no block finds one
  that another has loaded into the L1 cache;
* L1: the sectors that warps request, four per cycle and multiprocessor;
* issue: the instructions that the warps execute, four per cycle and multiprocessor;
* launch: the shortest time of a kernel, times the number of kernels.

Sectors and instructions are counted on the PTX, and listed in [kernels.md](kernels.md). A kernel takes longer
than all five times if it waits for memory with too few resident warps, or if few instances do not fill the
GPU. It takes less than the first if an earlier kernel left its input in the L2 cache, and less than the
fourth if ptxas needs fewer instructions than the PTX has.

The rate of a copy is assumed to be 90 % of the memory bandwidth in the data sheet, that of the L2 cache 5120
bytes per cycle, as in the data sheet of the A100, and the shortest kernel in a CUDA graph to take 2 µs.
`benchmarks/gpu/run correctness` measures these three, and `python -m benchmarks.roofline --ceilings FILE`
predicts with what it has measured.

""".splitlines()


def _ceilings(gpus: Sequence[Gpu]) -> Iterator[str]:
    yield "| | memory, GB/s | L2, GB/s | multiprocessors | clock, GHz | instructions per s | launch, µs |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for gpu in gpus:
        rate = 4 * gpu.multiprocessors * gpu.clock
        yield (
            f"| {gpu.name} | {gpu.memory / 1e9:.0f} | {gpu.l2 / 1e9:.0f} | {gpu.multiprocessors} "
            f"| {gpu.clock / 1e9:.2f} | {rate / 1e9:.0f} x 10⁹ | {gpu.launch * 1e6:.1f} |"
        )


def _table(cases: Iterable[Case], gpus: Sequence[Gpu]) -> Iterator[str]:
    names = " | ".join(f"{gpu.name}, µs | limit" for gpu in gpus)
    yield f"| op | case | MB | MB of L2 | MB of L1 | instructions, 10⁶ | kernels | {names} |"
    yield "| --- " * (7 + 2 * len(gpus)) + "|"
    for case in cases:
        arguments = case.inputs(torch.device("cpu"))
        work = work_of(case.op, arguments, case.implementations[OURS](*arguments))
        if work is not None and work.kernels:
            total = work.counts
            megabytes = (work.bytes, total.l2_sectors * _SECTOR, total.l1_sectors * _SECTOR)
            cells = [f"{moved / 1e6:.3g}" for moved in megabytes]
            cells += [f"{total.instructions / 1e6:.3g}", ", ".join(f"`{name}`" for name in work.kernels)]
            cells += [f"{microseconds(gpu.seconds(work))} | {gpu.limit(work)}" for gpu in gpus]
            yield f"| {case.op} | {case.label} | " + " | ".join(cells) + " |"


def microseconds(seconds: float) -> str:
    """Formats seconds in microseconds to a tenth, which is the resolution that matters for a kernel."""
    return "< 0.1" if seconds < 1e-7 else f"{seconds * 1e6:.1f}"


if __name__ == "__main__":
    main()
