"""Times the benchmark cases as docs/benchmarks.md does: all implementations take turns."""

from collections.abc import Mapping, Sequence

from benchmarks.case import OURS, Case
from benchmarks.gpu.chosen import KERNELS, cases_of
from benchmarks.gpu.command import Run
from benchmarks.results import measure
from benchmarks.test_training_step import CASES as TRAINING

_PEERS = "affine_align beside other libraries"


def peers(run: Run) -> None:
    """Compares with the references in torch, such as grid_sample, and with torchvision."""
    compare(run, "peers", cases_of((_PEERS, *KERNELS), sizes=(1,) if run.rehearsal else (8, 32)), seconds=0.4)


def training(run: Run) -> None:
    """Times a training step and the part of it outside of the network."""
    if run.rehearsal:
        run.require_gpu("a training step of the original size")
    compare(run, "training", TRAINING, seconds=3.0)


def compare(run: Run, step: str, cases: Sequence[Case], seconds: float) -> None:
    """Records the median times of all implementations. Raises AssertionError if they do not agree."""
    failed = 0
    for case in run.cases(cases):
        run.require_time()
        measured = measure(case, run.device, run.seconds(seconds))
        failed += bool(measured.failure)
        text = f"{case} {measured.failure or in_words(measured.medians)}"
        run.record.add(step, text, case=str(case), seconds=dict(measured.medians), failure=measured.failure)
    assert not failed, f"{failed} cases failed"


def in_words(medians: Mapping[str, float]) -> str:
    """Formats the times of the implementations, each with its ratio to ours."""
    ours = medians[OURS]
    return ", ".join(f"{name} {time * 1e6:.1f} us ({time / ours:.2f})" for name, time in medians.items())
