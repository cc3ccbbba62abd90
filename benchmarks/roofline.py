"""`python -m benchmarks.roofline`: predicts how fast our CUDA kernels could be, as docs/roofline.md.

Nothing is timed. `--check` writes nothing, and fails if the document is out of date.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import instructions, traffic
from benchmarks.case import OURS, Case, find_cases

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "roofline.md"


@dataclass(frozen=True)
class Work:
    """The work of a case on a GPU: bytes of memory traffic and warp instructions."""

    bytes: int
    instructions: dict[str, float]  # by kernel; empty if they were not counted


@dataclass(frozen=True)
class Gpu:
    """The data sheet of a GPU.

    device: The name that `torch.cuda.get_device_name` returns.
    bandwidth: The memory bandwidth in bytes per second.
    multiprocessors, clock: The number of multiprocessors, and their highest clock rate in Hz.
    """

    name: str
    device: str
    bandwidth: float
    multiprocessors: int
    clock: float

    def memory_seconds(self, work: Work) -> float:
        return work.bytes / self.bandwidth

    def issue_seconds(self, work: Work) -> float:
        """The issue time: each of the four schedulers of a multiprocessor issues one instruction per
        cycle."""
        return sum(work.instructions.values()) / (4 * self.multiprocessors * self.clock)

    def seconds(self, work: Work) -> float:
        return max(self.memory_seconds(work), self.issue_seconds(work))

    def limit(self, work: Work) -> str:
        return "memory" if self.memory_seconds(work) >= self.issue_seconds(work) else "issue"


GPUS = (
    Gpu("A100 SXM 80 GB", "NVIDIA A100-SXM4-80GB", 2039e9, 108, 1.41e9),
    Gpu("H100 SXM", "NVIDIA H100 80GB HBM3", 3350e9, 132, 1.98e9),
    Gpu("H200 SXM", "NVIDIA H200", 4800e9, 132, 1.98e9),
)


def gpu_called(device: str) -> Gpu | None:
    """Returns the GPU with this `torch.cuda.get_device_name`, or None if it is unknown."""
    return next((gpu for gpu in GPUS if gpu.device == device), None)


def work_of(op: str, arguments: tuple[Any, ...], result: Any) -> Work | None:
    """Returns the work of an op, or None if docs/kernels.md has no counts.

    op: The op of a `Case`.
    arguments, result: The arguments and the result of its implementations.
    """
    if op not in traffic.MODELS or op not in instructions.MODELS:
        return None
    return Work(traffic.MODELS[op](arguments, result), instructions.MODELS[op](arguments, result))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is out of date")
    check = parser.parse_args().check
    known = [case for case in find_cases() if case.op in traffic.MODELS]
    current = document(tqdm(known, unit="case"))
    if not check:
        _DOCUMENT.write_text(current)
    elif not _DOCUMENT.exists() or _DOCUMENT.read_text() != current:
        sys.exit("docs/roofline.md is out of date: run python -m benchmarks.roofline")


def document(cases: Iterable[Case]) -> str:
    return "\n".join([*_INTRODUCTION, *_gpus(), "", *_table(cases)]) + "\n"


_INTRODUCTION = """\
# How fast the CUDA kernels could be: a prediction

**Nothing here was measured on a GPU.** Written by `python -m benchmarks.roofline` for the inputs of the
benchmarks. A prediction is the longer of two times:

* memory: the bytes that an op must move, by the model of [kernels.md](kernels.md), divided by the bandwidth;
* issue: the instructions that the warps of the kernels execute, as counted on the PTX and listed there,
  divided by four per cycle and multiprocessor.

A kernel takes longer than both if it waits: for memory with too few resident warps, because few instances do
not fill the GPU, for caches, or for its launch, which takes microseconds. It takes less than the first if an
earlier kernel left its input in the L2 cache, and less than the second if ptxas needs fewer instructions than
the PTX has. `python -m benchmarks.report --device cuda` shows measured times next to these.

""".splitlines()


def _gpus() -> Iterator[str]:
    yield "| from the data sheet | memory, GB/s | multiprocessors | clock, GHz | instructions per second |"
    yield "| --- | --- | --- | --- | --- |"
    for gpu in GPUS:
        rate = 4 * gpu.multiprocessors * gpu.clock
        yield (
            f"| {gpu.name} | {gpu.bandwidth / 1e9:.0f} | {gpu.multiprocessors} | {gpu.clock / 1e9:.2f} "
            f"| {rate / 1e9:.0f} x 10⁹ |"
        )


def _table(cases: Iterable[Case]) -> Iterator[str]:
    names = " | ".join(f"{gpu.name}, µs | limit" for gpu in GPUS)
    yield f"| op | case | MB | instructions by kernel, 10⁶ | {names} |"
    yield "| --- " * (4 + 2 * len(GPUS)) + "|"
    for case in cases:
        arguments = case.inputs(torch.device("cpu"))
        work = work_of(case.op, arguments, case.implementations[OURS](*arguments))
        if work is not None and work.instructions:
            predicted = " | ".join(f"{microseconds(gpu.seconds(work))} | {gpu.limit(work)}" for gpu in GPUS)
            counted = " + ".join(f"`{name}` {count / 1e6:.3g}" for name, count in work.instructions.items())
            yield f"| {case.op} | {case.label} | {work.bytes / 1e6:.3g} | {counted} | {predicted} |"


def microseconds(seconds: float) -> str:
    """Formats seconds in microseconds to a tenth, which is the resolution that matters for a kernel."""
    return "< 0.1" if seconds < 1e-7 else f"{seconds * 1e6:.1f}"


if __name__ == "__main__":
    main()
