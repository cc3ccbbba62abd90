"""Shared by the benchmarks: the device, its clock, and a fixture that checks all implementations and times
one."""

from collections.abc import Callable
from typing import Any

import cv2
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.case import Case
from benchmarks.timing import cuda_clock

CheckAndTime = Callable[[Case, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="device of the benchmarks: cpu, cuda or cuda:N")


def pytest_configure(config: pytest.Config) -> None:
    cv2.setNumThreads(torch.get_num_threads())
    device = torch.device(config.getoption("--device"))
    if device.type == "cuda":
        config.option.benchmark_timer = cuda_clock(device)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limits the rounds of each benchmark. The report measures longer."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(max_time=0.3, min_rounds=3))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrizes a test with the arguments `case` and `implementation` over the CASES of its module."""
    if "implementation" in metafunc.fixturenames:
        pairs = [(case, name) for case in metafunc.module.CASES for name in case.implementations]
        ids = [f"{case}-{name}" for case, name in pairs]
        metafunc.parametrize(("case", "implementation"), pairs, ids=ids)


class CheckedArguments:
    """Makes the arguments of a case and checks that its implementations agree, once for consecutive tests of
    the case."""

    def __init__(self, device: torch.device):
        self._device = device
        self._case: Case | None = None
        self._arguments: tuple[Any, ...] = ()

    def of(self, case: Case) -> tuple[Any, ...]:
        if case is not self._case:
            self._case = None
            self._arguments = case.inputs(self._device)
            case.check(self._arguments)
            self._case = case
        return self._arguments


@pytest.fixture(scope="session")
def checked_arguments(request: pytest.FixtureRequest) -> CheckedArguments:
    return CheckedArguments(torch.device(request.config.getoption("--device")))


@pytest.fixture
def check_and_time(checked_arguments: CheckedArguments, benchmark: BenchmarkFixture) -> CheckAndTime:
    """Returns `check_and_time(case, implementation)`: checks that all implementations agree, then times
    one."""

    def run(case: Case, implementation: str) -> None:
        arguments = checked_arguments.of(case)
        benchmark.group = f"{case.op}, {case.label}"
        benchmark(case.implementations[implementation], *arguments)

    return run
