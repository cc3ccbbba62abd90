"""Splits the time of the ops that return run lengths into kernels, copies and the work of the host."""

from collections.abc import Iterable

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.case import OURS
from benchmarks.gpu.chosen import RUN_LENGTHS, cases_of
from benchmarks.gpu.command import Run
from benchmarks.timing import alternate

_CALLS = 20
_RANGES = "pose2seg_ops::"  # the names of the ops, which a profile lists beside those of the kernels
_COPIES = ("Memcpy", "Memset")


def run_lengths(run: Run) -> None:
    """Records the times of a call in seconds."""
    for case in run.cases(cases_of(RUN_LENGTHS)):
        run.require_time()
        arguments, ours = case.inputs(run.device), case.implementations[OURS]
        whole = alternate({OURS: ours}, arguments, run.device, seconds=run.seconds(0.3))[OURS]
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
            for _ in range(_CALLS):
                ours(*arguments)
        events = profiled.profiler.kineto_results.events()
        on_gpu = [
            (event.name(), event.duration_ns() / 1e9 / _CALLS)
            for event in events
            if event.device_type() == DeviceType.CUDA
        ]
        parts = split(whole, on_gpu)
        text = ", ".join(f"{name} {seconds * 1e6:.1f} us" for name, seconds in parts.items())
        run.record.add("run_lengths", f"{case} {text}", case=str(case), **parts)


def split(whole: float, on_gpu: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Returns the seconds of each part of a call, from those of the whole and the events of a profile."""
    work = [(name, seconds) for name, seconds in on_gpu if not name.startswith(_RANGES)]
    copies = sum(seconds for name, seconds in work if name.startswith(_COPIES))
    kernels = sum(seconds for name, seconds in work if not name.startswith(_COPIES))
    return {"whole": whole, "kernels": kernels, "copies": copies, "host": whole - kernels - copies}
