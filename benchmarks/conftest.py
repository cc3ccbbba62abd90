"""What the benchmarks of the ops share: two contenders, checked to agree before either is timed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import pose2seg_ops
from pose2seg_ops import reference

CONTENDERS = {"pose2seg_ops": pose2seg_ops, "reference": reference}

Compare = Callable[..., None]


@pytest.fixture(params=CONTENDERS)
def compare(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Compare:
    """`compare("op", *arguments, tolerance=..., **options)`: kernels and reference agree; then times one."""

    def run(op: str, *arguments: Any, tolerance: float, **options: Any) -> None:
        torch.testing.assert_close(
            getattr(pose2seg_ops, op)(*arguments, **options),
            getattr(reference, op)(*arguments, **options),
            rtol=tolerance,
            atol=tolerance,
        )
        benchmark(getattr(CONTENDERS[request.param], op), *arguments, **options)

    return run


@pytest.fixture
def people() -> Callable[[int], torch.Tensor]:
    """`people(n)`: n standing people, (n, 17, 3) in a 128 x 128 frame, each a little different."""
    upright = torch.tensor(
        [
            [0.50, 0.10], [0.52, 0.08], [0.48, 0.08], [0.55, 0.09], [0.45, 0.09], [0.62, 0.22], [0.38, 0.22],
            [0.68, 0.38], [0.32, 0.38], [0.70, 0.52], [0.30, 0.52], [0.58, 0.54], [0.42, 0.54], [0.58, 0.75],
            [0.42, 0.75], [0.58, 0.95], [0.42, 0.95],
        ]
    )  # fmt: skip

    def make(count: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        shaken = upright + 0.02 * torch.randn(count, 17, 2, generator=generator)
        return torch.cat((shaken * 90 + 20, torch.full((count, 17, 1), 2.0)), -1)

    return make
