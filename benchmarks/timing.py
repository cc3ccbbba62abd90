"""Timing on a device with alternating implementations, and the memory bandwidth of a device."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

_SHORTEST = 2e-3  # seconds that one measurement should take
_FEWEST = 3  # minimum number of turns
_SLOW = 1.0  # seconds; slower implementations are not warmed up
_COPIED = 256 << 20  # bytes, larger than any cache


def cuda_clock(device: torch.device) -> Callable[[], float]:
    """Returns a clock that reads seconds from CUDA events on the current stream, after its work is done.

    An event returns the milliseconds since another event in float32: the error is about half a microsecond
    between consecutive readings, and much larger for a distant one. The clock therefore sums them up.
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
    implementations: Mapping[str, Callable[..., Any]],
    arguments: tuple[Any, ...],
    device: torch.device,
    *,
    seconds: float,
) -> dict[str, float]:
    """Returns the median time of each implementation in seconds, from turns that take about `seconds` in
    total.

    Each turn starts with a run that is not timed, so that no implementation is measured with the caches and
    the free memory pages that another one left.
    """
    now = clock(device)
    times: dict[str, list[float]] = {}
    for name, run in implementations.items():
        cold = _time(run, arguments, 1, now)
        times[name] = [cold if cold > _SLOW else _time(run, arguments, 1, now)]
    repeats = {name: max(1, round(_SHORTEST / max(first, 1e-7))) for name, (first,) in times.items()}
    warmed_up = [name for name, (first,) in times.items() if first <= _SLOW]
    end = time.perf_counter() + seconds
    turns = 1
    while time.perf_counter() < end or turns < _FEWEST:
        for name, run in implementations.items():
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
    """Returns the bytes per second that a large copy reads and writes, the memory bandwidth reached in
    practice."""
    source = torch.ones(_COPIED, dtype=torch.uint8, device=device)
    times = alternate({"copy": torch.Tensor.copy_}, (torch.empty_like(source), source), device, seconds=0.5)
    return 2 * _COPIED / times["copy"]
