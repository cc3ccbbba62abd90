"""Timing on a device with alternating implementations, and the memory bandwidth of a device."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

_SHORTEST = 2e-3  # seconds that one measurement should take
_FEWEST = 3  # minimum number of turns
_SLOW = 1.0  # seconds; slower implementations are not warmed up
_MOST = 3  # the most time that turns take if medians are still uncertain, in multiples of the least
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


class Median(NamedTuple):
    """A median of measurements, and an interval [low, high] that contains the median of infinitely many of
    them with a probability of 95 %, however they are distributed."""

    low: float
    value: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Median":
        ordered = sorted(values)
        # Of n values, the number below the true median has a binomial distribution.
        outside = max(0, math.floor((len(ordered) - 1.96 * math.sqrt(len(ordered))) / 2))
        return cls(ordered[outside], statistics.median(ordered), ordered[-1 - outside])

    @property
    def is_narrow(self) -> bool:
        """Whether the interval is at most a tenth of the median wide."""
        return self.high - self.low <= 0.1 * self.value


def alternate(
    implementations: Mapping[str, Callable[..., Any]],
    arguments: tuple[Any, ...],
    device: torch.device,
    *,
    seconds: float,
) -> dict[str, float]:
    """Returns the median time of each implementation in seconds, from turns that take about `seconds` in
    total."""
    times = take_turns(implementations, arguments, device, seconds=seconds)
    return {name: statistics.median(measured) for name, measured in times.items()}


def take_turns(
    implementations: Mapping[str, Callable[..., Any]],
    arguments: tuple[Any, ...],
    device: torch.device,
    *,
    seconds: float,
    relative_to: str | None = None,
) -> dict[str, list[float]]:
    """Returns the times of each implementation in seconds, one of each turn.

    Each turn starts with a run that is not timed, so that no implementation is measured with the caches and
    the free memory pages that another one left.

    Args:
        seconds: The time that all turns take in total, about.
        relative_to: An implementation. Turns take up to three times as long if the medians of the times
            relative to its times are not narrow by then.
    """
    now = clock(device)
    times: dict[str, list[float]] = {}
    for name, run in implementations.items():
        cold = _time(run, arguments, 1, now)
        times[name] = [cold if cold > _SLOW else _time(run, arguments, 1, now)]
    repeats = {name: max(1, round(_SHORTEST / max(first, 1e-7))) for name, (first,) in times.items()}
    warmed_up = [name for name, (first,) in times.items() if first <= _SLOW]
    start = time.perf_counter()
    turns = 1
    while turns < _FEWEST or _go_on(times, time.perf_counter() - start, seconds, relative_to):
        for name, run in implementations.items():
            if name in warmed_up:
                run(*arguments)
            times[name].append(_time(run, arguments, repeats[name], now))
        turns += 1
    return times


def _go_on(
    times: Mapping[str, Sequence[float]], elapsed: float, seconds: float, relative_to: str | None
) -> bool:
    if elapsed < seconds or relative_to is None:
        return elapsed < seconds
    return elapsed < _MOST * seconds and not all(
        median.is_narrow for median in relative_medians(times, relative_to).values()
    )


def relative_medians(times: Mapping[str, Sequence[float]], to: str) -> dict[str, Median]:
    """Returns the median over the turns of the time of each other implementation, relative to that of
    `to`."""
    return {
        name: Median.of([theirs / ours for theirs, ours in zip(measured, times[to], strict=True)])
        for name, measured in times.items()
        if name != to
    }


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
