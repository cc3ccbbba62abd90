"""What the benchmarks share: a device, its clock, and a fixture that checks all contenders and times one."""

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.contest import Contest
from benchmarks.timing import cuda_clock

Race = Callable[[Contest, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where the contenders run: cpu, cuda or cuda:N")


def pytest_configure(config: pytest.Config) -> None:
    if torch.device(config.getoption("--device")).type == "cuda":
        config.option.benchmark_timer = cuda_clock()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the arguments `contest` and `contender` runs for each of its module's CONTESTS."""
    if "contender" in metafunc.fixturenames:
        contests = metafunc.module.CONTESTS
        pairs = [(contest, name) for contest in contests for name in (*contest.contenders, *contest.missing)]
        ids = [f"{contest}-{name}" for contest, name in pairs]
        metafunc.parametrize(("contest", "contender"), pairs, ids=ids)


@pytest.fixture
def race(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Race:
    """`race(contest, contender)`: all contenders agree; then times one."""

    def run(contest: Contest, contender: str) -> None:
        if contender in contest.missing:
            pytest.skip(contest.missing[contender])
        arguments = contest.inputs(torch.device(request.config.getoption("--device")))
        contest.check(arguments)
        benchmark.group = f"{contest.op}, {contest.case}"
        benchmark(contest.contenders[contender], *arguments)

    return run
