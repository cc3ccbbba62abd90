"""Times each kernel alone, beside the bandwidth of a copy and the prediction of docs/roofline.md."""

from dataclasses import replace
from typing import Any

import torch

from benchmarks.case import OURS, Case
from benchmarks.gpu.chosen import KERNELS, cases_of
from benchmarks.gpu.command import Run
from benchmarks.gpu.replay import seconds_of_replay, sets_past_the_caches
from benchmarks.results import machine
from benchmarks.roofline import Gpu, gpu_called, work_of
from benchmarks.timing import alternate, copy_bandwidth

_SECONDS = 0.3


def kernels(run: Run) -> None:
    """Replays every case of our kernels in a CUDA graph. Raises AssertionError if one fails."""
    copied = copy_bandwidth(run.device)
    run.record.add("kernels", f"a copy moves {copied / 1e9:.0f} GB/s", bytes_per_second=copied)
    gpu = gpu_called(machine(run.device))
    gpu = gpu and replace(gpu, memory=copied)
    failed = []
    for case in run.cases(cases_of(KERNELS)):
        run.require_time()
        try:
            values = measure(case, run.device, gpu)
        except Exception as error:  # an error in one case must not stop the others
            run.record.add("kernels", f"{case} failed: {error}", case=str(case), failure=str(error))
            failed.append(str(case))
        else:
            run.record.add("kernels", in_words(case, values, copied), case=str(case), **values)
    assert not failed, f"{len(failed)} cases failed"


def measure(case: Case, device: torch.device, gpu: Gpu | None) -> dict[str, Any]:
    """Returns the seconds of a call, the bytes that it must move, and the predicted seconds, if known."""
    ours = case.implementations[OURS]
    if device.type != "cuda":
        arguments = case.inputs(device)
        seconds, count = alternate({OURS: ours}, arguments, device, seconds=0)[OURS], 1
        work = work_of(case.op, arguments, ours(*arguments))
    else:
        with torch.cuda.stream(torch.cuda.Stream(device)):
            arguments = case.inputs(device)
            result = ours(*arguments)
            work = work_of(case.op, arguments, result)
            count = sets_past_the_caches((arguments, result), device)
            sets = [arguments, *(case.inputs(device) for _ in range(count - 1))]
            seconds = seconds_of_replay(ours, sets, device, _SECONDS)
    predicted = gpu.seconds(work) if gpu and work and work.kernels else None
    return {
        "seconds": seconds,
        "sets": count,
        "bytes": work.bytes if work else None,
        "predicted_seconds": predicted,
    }


def in_words(case: Case, values: dict[str, Any], copied: float) -> str:
    """Formats a measurement as one line; `copied` is the bytes per second of a copy."""
    seconds, moved, predicted = values["seconds"], values["bytes"], values["predicted_seconds"]
    parts = [f"{case} {seconds * 1e6:.2f} us"]
    if moved:
        parts.append(f"{moved / seconds / 1e9:.0f} GB/s ({moved / seconds / copied:.0%} of a copy)")
    if predicted:
        parts.append(f"predicted {predicted * 1e6:.2f} us ({seconds / predicted:.1f} times that)")
    return ", ".join(parts)
