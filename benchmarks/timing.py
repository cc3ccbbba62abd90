"""Time on a device, and contenders that take turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

_SHORTEST = 2e-3  # seconds that one reading of the clock should cover


def cuda_clock() -> Callable[[], float]:
    """A clock that reads seconds from CUDA events on the current stream."""
    start = torch.cuda.Event(enable_timing=True)
    start.record()

    def now() -> float:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        event.synchronize()
        return float(start.elapsed_time(event)) / 1000

    return now


def clock(device: torch.device) -> Callable[[], float]:
    return cuda_clock() if device.type == "cuda" else time.perf_counter


def alternate(
    contenders: Mapping[str, Callable[..., Any]],
    arguments: tuple[Any, ...],
    device: torch.device,
    *,
    seconds: float,
) -> dict[str, float]:
    """The median time of each contender, in seconds, from turns taken for about so many seconds in all."""
    now = clock(device)
    repeats = {}
    for name, run in contenders.items():
        run(*arguments)
        start = now()
        run(*arguments)
        repeats[name] = max(1, round(_SHORTEST / max(now() - start, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[name]) < 5:
        for name, run in contenders.items():
            start = now()
            for _ in range(repeats[name]):
                run(*arguments)
            times[name].append((now() - start) / repeats[name])
    return {name: statistics.median(measured) for name, measured in times.items()}
