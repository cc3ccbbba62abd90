"""`python -m benchmarks.roofline`: how fast our CUDA kernels could be, predicted, as docs/roofline.md.

Nothing is timed. `--check` writes nothing, and fails where the document is out of date.
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
from benchmarks.contest import OURS, Contest, find_contests

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "roofline.md"


@dataclass(frozen=True)
class Work:
    """What a contest asks of a GPU: bytes of memory, and instructions of warps."""

    bytes: int
    instructions: dict[str, float]  # by kernel; none where they were not counted


@dataclass(frozen=True)
class Gpu:
    """What a data sheet says of a GPU.

    device: what `torch.cuda.get_device_name` calls it.
    bandwidth: of its memory, bytes a second.
    multiprocessors, clock: their number, and the fastest they run, in Hz.
    """

    name: str
    device: str
    bandwidth: float
    multiprocessors: int
    clock: float

    def memory_seconds(self, work: Work) -> float:
        return work.bytes / self.bandwidth

    def issue_seconds(self, work: Work) -> float:
        """Each of a multiprocessor's four schedulers issues an instruction a cycle."""
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
    """The GPU that `torch.cuda.get_device_name` calls so."""
    return next((gpu for gpu in GPUS if gpu.device == device), None)


def work_of(op: str, arguments: tuple[Any, ...], result: Any) -> Work | None:
    """None where docs/kernels.md does not tell.

    op: of a `Contest`.
    arguments, result: of its contenders.
    """
    if op not in traffic.MODELS or op not in instructions.MODELS:
        return None
    return Work(traffic.MODELS[op](arguments, result), instructions.MODELS[op](arguments, result))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it is out of date")
    check = parser.parse_args().check
    known = [contest for contest in find_contests() if contest.op in traffic.MODELS]
    current = document(tqdm(known, unit="contest"))
    if not check:
        _DOCUMENT.write_text(current)
    elif not _DOCUMENT.exists() or _DOCUMENT.read_text() != current:
        sys.exit("docs/roofline.md is out of date: run python -m benchmarks.roofline")


def document(contests: Iterable[Contest]) -> str:
    return "\n".join([*_INTRODUCTION, *_gpus(), "", *_table(contests)]) + "\n"


_INTRODUCTION = """\
# How fast the CUDA kernels could be: a prediction

**Nothing here was measured on a GPU.** Made by `python -m benchmarks.roofline` for the inputs of the
benchmarks: the longer of two times that a GPU needs.

* memory: the bytes that an op must move, by the model of [kernels.md](kernels.md), over the bandwidth;
* issue: the instructions that the kernels' warps execute, as counted on the PTX and written down there, over
  four a cycle and multiprocessor.

A kernel is slower than both where it waits: for memory with too few warps resident, for few instances that
do not fill the GPU, for caches, or to be launched, which takes microseconds. It is faster than the first
where an earlier kernel left its input in the L2 cache, and than the second where ptxas needs fewer
instructions than are in the PTX. `python -m benchmarks.report --device cuda` puts the times that it measures
beside these.

""".splitlines()


def _gpus() -> Iterator[str]:
    yield "| from the data sheet | memory, GB/s | multiprocessors | clock, GHz | instructions a second |"
    yield "| --- | --- | --- | --- | --- |"
    for gpu in GPUS:
        rate = 4 * gpu.multiprocessors * gpu.clock
        yield (
            f"| {gpu.name} | {gpu.bandwidth / 1e9:.0f} | {gpu.multiprocessors} | {gpu.clock / 1e9:.2f} "
            f"| {rate / 1e9:.0f} x 10⁹ |"
        )


def _table(contests: Iterable[Contest]) -> Iterator[str]:
    names = " | ".join(f"{gpu.name}, µs | limit" for gpu in GPUS)
    yield f"| op | case | MB | instructions by kernel, 10⁶ | {names} |"
    yield "| --- " * (4 + 2 * len(GPUS)) + "|"
    for contest in contests:
        arguments = contest.inputs(torch.device("cpu"))
        work = work_of(contest.op, arguments, contest.contenders[OURS](*arguments))
        if work is not None and work.instructions:
            predicted = " | ".join(f"{microseconds(gpu.seconds(work))} | {gpu.limit(work)}" for gpu in GPUS)
            counted = " + ".join(f"`{name}` {count / 1e6:.3g}" for name, count in work.instructions.items())
            yield f"| {contest.op} | {contest.case} | {work.bytes / 1e6:.3g} | {counted} | {predicted} |"


def microseconds(seconds: float) -> str:
    """To a tenth; less than that no kernel takes."""
    return "< 0.1" if seconds < 1e-7 else f"{seconds * 1e6:.1f}"


if __name__ == "__main__":
    main()
