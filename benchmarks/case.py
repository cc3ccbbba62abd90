"""A benchmark case: one computation on one input, and the implementations to compare."""

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

OURS = "pose2seg_ops"
REFERENCE = "reference"
#: A lower bound of our time: allocates and fills the output of an op, or multiplies the matrices of a
#: network.
FLOOR = "floor"
#: The computation that the case is a part of, such as a step of training.
WHOLE = "whole"


class Scale(NamedTuple):
    """The position of a case in a series of sizes: `size` along `axis`, such as 8 along "N"; `others` names
    the series."""

    axis: str
    size: int
    others: str


@dataclass(frozen=True)
class Case:
    """An op and other implementations of it on the same input.

    op: The name of the op.
    label: Distinguishes the case from the others of the op, such as "N=8, channels_last". A leading number
        is the size that times are plotted against.
    inputs: Makes the arguments of the implementations on a device.
    implementations: OURS, REFERENCE and others by name. All but FLOOR and WHOLE, which compute something
        else, must agree with REFERENCE.
    targets: For some implementations, the least required ratio (its time / our time).
    tolerance: The relative and absolute tolerance of the agreement.
    longest: The longest time in seconds that ours may take, if that is the target.
    limit: A sentence that explains why a target is out of reach.
    agree: Raises AssertionError if a result does not agree; by default torch.testing.assert_close.
    """

    op: str
    label: str
    inputs: Callable[[torch.device], tuple[Any, ...]]
    implementations: Mapping[str, Callable[..., Any]]
    targets: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 1e-3
    agree: Callable[[Any, Any], None] | None = None
    longest: float | None = None
    limit: str = ""

    def check(self, arguments: tuple[Any, ...]) -> None:
        """Raises AssertionError unless all implementations agree with the reference."""
        expected = self.implementations[REFERENCE](*arguments)
        for name, run in self.implementations.items():
            if name not in (REFERENCE, FLOOR, WHOLE):
                result = run(*arguments)
                try:
                    self._agree(result, expected)
                except AssertionError as error:
                    raise AssertionError(f"{self.op}, {self.label}: {name} disagrees: {error}") from error

    def _agree(self, result: Any, expected: Any) -> None:
        if self.agree is not None:
            self.agree(result, expected)
        else:
            # An implementation that runs on the CPU may return its result there.
            torch.testing.assert_close(
                result, expected, rtol=self.tolerance, atol=self.tolerance, check_device=False
            )

    @property
    def scale(self) -> Scale | None:
        match = re.fullmatch(r"(\w+)=(\d+)(?:, (.*))?", self.label)
        return Scale(match[1], int(match[2]), match[3] or "") if match else None

    def __str__(self) -> str:
        return f"{self.op}-{self.label}".replace(", ", "-").replace(" ", "_")


def find_cases() -> Iterator[Case]:
    """Yields the CASES of the modules in this folder, ordered by module name; some modules have none."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        yield from getattr(importlib.import_module(f"benchmarks.{path.stem}"), "CASES", ())


def overlap_at_least(smallest: float) -> Callable[[Any, Any], None]:
    """Returns a check that each mask (of lists of bool (n, H, W)) has at least this intersection over
    union."""

    def agree(masks: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
        for ours, theirs in zip(masks, expected, strict=True):
            ours, theirs = ours.cpu(), theirs.cpu()
            intersection = (ours & theirs).sum((1, 2))
            union = (ours | theirs).sum((1, 2))
            assert bool(union.any()), "no mask has a pixel"
            overlap = intersection / union.clamp(min=1)
            assert bool(((overlap >= smallest) | (union == 0)).all()), f"masks overlap by {overlap.min():.4f}"

    return agree


def backward(implementation: str) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Returns the backward pass. Its arguments end in the leaves, the outputs by implementation, and their
    gradient."""

    def run(*arguments: Any) -> tuple[torch.Tensor, ...]:
        *_, leaves, outputs, gradient = arguments
        return torch.autograd.grad(outputs[implementation], leaves, gradient, retain_graph=True)

    return run


def gradients_within(tolerance: float) -> Callable[[Any, Any], None]:
    """Returns a check that gradients agree within a tolerance.

    Errors are relative to the largest gradient, since sums of a million products may nearly cancel and keep
    the rounding errors of all. Only 90 % of the instances must agree, since a gradient jumps where rounding
    moves a sample across a pixel centre.
    """

    def agree(gradients: Any, expected: Any) -> None:
        for ours, theirs in zip(gradients, expected, strict=True):
            error = (ours - theirs).abs().flatten(1).amax(1) / theirs.abs().max()
            assert error.float().quantile(0.9) <= tolerance, f"errors of {error.max():.2g} of the largest"

    return agree
