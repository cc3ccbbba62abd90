"""Time on a device, contenders that take turns, and how fast the memory of a device is."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

_SHORTEST = 2e-3  # seconds that one reading of the clock should cover
_FEWEST = 3  # turns
_SLOW = 1.0  # seconds, of a contender that is not warmed up
_COPIED = 256 << 20  # bytes, more than any cache holds


def cuda_clock(device: torch.device) -> Callable[[], float]:
    """A clock that reads seconds from CUDA events on the device's current stream, once its work is done.

    Events tell milliseconds between two of them, in float32: near half a microsecond from one reading to the
    next, and far more than that from a reading long ago. Hence the sum.
    """
    stream = torch.cuda.current_stream(device)
    latest = stream.record_event(torch.cuda.Event(enable_timing=True))
    seconds = 0.0

    def now() -> float:
        nonlocal latest, seconds
        event = stream.record_event(torch.cuda.Event(enable_timing=True))
        event.synchronize()
        seconds += latest.elapsed_time(event) / 1000
        latest = event
        return seconds

    return now


def clock(device: torch.device) -> Callable[[], float]:
    return cuda_clock(device) if device.type == "cuda" else time.perf_counter


def alternate(
    contenders: Mapping[str, Callable[..., Any]],
    arguments: tuple[Any, ...],
    device: torch.device,
    *,
    seconds: float,
) -> dict[str, float]:
    """The median time of each contender, in seconds, from turns taken for about so many seconds in all.

    A turn begins with a run that is not timed: the caches and the free pages of memory that one contender
    leaves are not what the next would have by itself.
    """
    now = clock(device)
    times: dict[str, list[float]] = {}
    for name, run in contenders.items():
        cold = _time(run, arguments, 1, now)
        times[name] = [cold if cold > _SLOW else _time(run, arguments, 1, now)]
    repeats = {name: max(1, round(_SHORTEST / max(first, 1e-7))) for name, (first,) in times.items()}
    warmed_up = [name for name, (first,) in times.items() if first <= _SLOW]
    end = time.perf_counter() + seconds
    turns = 1
    while time.perf_counter() < end or turns < _FEWEST:
        for name, run in contenders.items():
            if name in warmed_up:
                run(*arguments)
            times[name].append(_time(run, arguments, repeats[name], now))
        turns += 1
    return {name: statistics.median(measured) for name, measured in times.items()}


def _time(
    run: Callable[..., Any], arguments: tuple[Any, ...], repeats: int, now: Callable[[], float]
) -> float:
    start = now()
    for _ in range(repeats):
        run(*arguments)
    return (now() - start) / repeats


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes: what the memory of a device gives in practice."""
    source = torch.ones(_COPIED, dtype=torch.uint8, device=device)
    times = alternate({"copy": torch.Tensor.copy_}, (torch.empty_like(source), source), device, seconds=0.5)
    return 2 * _COPIED / times["copy"]
