"""Tests of the CUDA clock, with fake events that have the resolution and the restrictions of real ones."""

import numpy as np
import pytest
import torch

from benchmarks.timing import Median, alternate, copy_bandwidth, cuda_clock, take_turns

CPU = torch.device("cpu")


class Gpu:
    """A fake device and its stream, whose work takes the milliseconds that are added to it."""

    def __init__(self) -> None:
        self.milliseconds = 0.0
        self.asked_for: list[torch.device] = []

    def current_stream(self, device: torch.device) -> "Gpu":
        self.asked_for.append(device)
        return self

    def record_event(self, event: "Event") -> "Event":
        event.recorded = self.milliseconds
        return event


class Event:
    def __init__(self, enable_timing: bool = False) -> None:
        self.timing = enable_timing
        self.recorded: float | None = None
        self.reached = False

    def synchronize(self) -> None:
        assert self.recorded is not None
        self.reached = True

    def elapsed_time(self, later: "Event") -> float:
        assert self.timing
        assert later.timing
        assert later.reached, "CUDA raises an error if the event was not reached yet"
        assert self.recorded is not None
        assert later.recorded is not None
        return float(np.float32(later.recorded - self.recorded))


@pytest.fixture
def gpu(monkeypatch) -> Gpu:
    gpu = Gpu()
    monkeypatch.setattr(torch.cuda, "current_stream", gpu.current_stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return gpu


def test_cuda_clock_is_exact_after_hours(gpu):
    now = cuda_clock(torch.device("cuda:1"))
    assert gpu.asked_for == [torch.device("cuda:1")]
    gpu.milliseconds += 3 * 3600e3
    start = now()
    assert start == pytest.approx(3 * 3600)
    gpu.milliseconds += 0.125  # float32 has no such milliseconds after three hours
    assert now() - start == pytest.approx(125e-6, rel=1e-4)


def test_implementations_alternate_on_the_device(gpu):
    turns: list[str] = []

    def implementation(name: str, milliseconds: float):
        def run() -> None:
            turns.append(name)
            gpu.milliseconds += milliseconds

        return run

    implementations = {"quick": implementation("quick", 0.25), "slow": implementation("slow", 4.0)}
    times = alternate(implementations, (), torch.device("cuda"), seconds=0)
    assert times == pytest.approx({"quick": 0.25e-3, "slow": 4e-3})
    # Each implementation is warmed up and timed once. Then they take turns: each is warmed up again, and the
    # quick one is repeated until a turn takes two milliseconds.
    assert turns == ["quick"] * 2 + ["slow"] * 2 + (["quick"] * (1 + 8) + ["slow"] * 2) * 2


def test_slow_implementations_are_not_warmed_up(gpu):
    milliseconds = [9000.0, 3000.0, 2000.0]

    def run() -> None:
        gpu.milliseconds += milliseconds.pop(0)

    assert alternate({"slow": run}, (), torch.device("cuda"), seconds=0) == pytest.approx({"slow": 3.0})
    assert not milliseconds


def test_an_interval_contains_the_median_as_often_as_it_says():
    generator = np.random.default_rng(0)
    samples = generator.lognormal(size=(2000, 25))
    medians = [Median.of(values.tolist()) for values in samples]
    assert [median.value for median in medians] == pytest.approx(np.median(samples, 1))
    assert 0.93 < np.mean([median.low <= 1 <= median.high for median in medians]) < 0.98
    assert Median.of([3.0, 1.0, 2.0]) == (1, 2, 3)


@pytest.mark.parametrize(("relative_to", "expected"), [(None, 10), ("even", 30)])
def test_turns_go_on_while_ratios_are_uncertain(monkeypatch, relative_to, expected):
    seconds = 0.0
    generator = np.random.default_rng(0)

    def run(duration: float) -> None:
        nonlocal seconds
        seconds += duration

    monkeypatch.setattr("time.perf_counter", lambda: seconds)
    implementations = {"even": lambda: run(0.1), "uneven": lambda: run(generator.uniform(0.1, 0.3))}
    take_turns(implementations, (), CPU, seconds=10, relative_to=relative_to)
    assert seconds == pytest.approx(expected, abs=1.5)
    steady = {"even": lambda: run(0.1), "other": lambda: run(0.2)}
    start = seconds
    take_turns(steady, (), CPU, seconds=10, relative_to=relative_to)
    assert seconds - start == pytest.approx(10, abs=1.5)


def test_copies_count_both_ways(monkeypatch):
    def alternate(implementations, arguments, device, *, seconds):
        target, source = arguments
        implementations["copy"](target, source)
        assert torch.equal(target, source)
        return {"copy": 0.5}

    monkeypatch.setattr("benchmarks.timing.alternate", alternate)
    monkeypatch.setattr("benchmarks.timing._COPIED", 1000)
    assert copy_bandwidth(CPU) == 2 * 1000 / 0.5
