"""Shared by the benchmarks: the device, its clock, and a fixture that checks all implementations and times
one."""

from collections.abc import Callable

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrizes a test with the arguments `case` and `implementation` over the CASES of its module."""
    if "implementation" in metafunc.fixturenames:
        pairs = [(case, name) for case in metafunc.module.CASES for name in case.implementations]
        ids = [f"{case}-{name}" for case, name in pairs]
        metafunc.parametrize(("case", "implementation"), pairs, ids=ids)


@pytest.fixture
def check_and_time(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> CheckAndTime:
    """Returns `check_and_time(case, implementation)`: checks that all implementations agree, then times
    one."""

    def run(case: Case, implementation: str) -> None:
        arguments = case.inputs(torch.device(request.config.getoption("--device")))
        case.check(arguments)
        benchmark.group = f"{case.op}, {case.label}"
        benchmark(case.implementations[implementation], *arguments)

    return run
