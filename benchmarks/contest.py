"""A contest: one computation, and those who can do it."""

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

OURS = "pose2seg_ops"
REFERENCE = "reference"
#: What ours cannot go below: an op allocates and fills its output, a network multiplies matrices.
FLOOR = "floor"
#: What the contest is a part of, such as a step of training.
WHOLE = "whole"


class Scale(NamedTuple):
    """How large a contest is among those that differ in nothing else: `size` of `axis`, such as 8 of "N"."""

    axis: str
    size: int
    others: str


@dataclass(frozen=True)
class Contest:
    """Our op and its rivals on the same input.

    op: the name of the op.
    case: what tells this contest from the others of the op, such as "N=8, channels_last"; a number in front
        is what times are plotted against.
    inputs: makes the arguments of the contenders on a device.
    contenders: OURS, REFERENCE and others by name; REFERENCE is what all have to agree with, but FLOOR
        and WHOLE, which compute something else.
    bars: by name of a contender, the smallest (its time / our time) that will do.
    tolerance: relative and absolute, of the agreement.
    longest: seconds that ours may take, where that is the bar.
    limit: what keeps ours from its bars, in a sentence, where one is out of reach.
    agree: raises AssertionError if a result does not agree; by default torch.testing.assert_close.
    """

    op: str
    case: str
    inputs: Callable[[torch.device], tuple[Any, ...]]
    contenders: Mapping[str, Callable[..., Any]]
    bars: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 1e-3
    agree: Callable[[Any, Any], None] | None = None
    longest: float | None = None
    limit: str = ""

    def check(self, arguments: tuple[Any, ...]) -> None:
        """Raises AssertionError unless all contenders agree with the reference."""
        expected = self.contenders[REFERENCE](*arguments)
        for name, run in self.contenders.items():
            if name not in (REFERENCE, FLOOR, WHOLE):
                result = run(*arguments)
                try:
                    self._agree(result, expected)
                except AssertionError as error:
                    raise AssertionError(f"{self.op}, {self.case}: {name} disagrees: {error}") from error

    def _agree(self, result: Any, expected: Any) -> None:
        if self.agree is not None:
            self.agree(result, expected)
        else:
            # A rival that lives on the CPU may leave its result there.
            torch.testing.assert_close(
                result, expected, rtol=self.tolerance, atol=self.tolerance, check_device=False
            )

    @property
    def scale(self) -> Scale | None:
        match = re.fullmatch(r"(\w+)=(\d+)(?:, (.*))?", self.case)
        return Scale(match[1], int(match[2]), match[3] or "") if match else None

    def __str__(self) -> str:
        return f"{self.op}-{self.case}".replace(", ", "-").replace(" ", "_")


def find_contests() -> Iterator[Contest]:
    """Those of the modules beside this one, in the order of their names; not all benchmarks are contests."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        yield from getattr(importlib.import_module(f"benchmarks.{path.stem}"), "CONTESTS", ())


def overlap_at_least(smallest: float) -> Callable[[Any, Any], None]:
    """Agreement of masks (lists of bool (n, H, W)): each person's intersection over union."""

    def agree(masks: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
        for ours, theirs in zip(masks, expected, strict=True):
            ours, theirs = ours.cpu(), theirs.cpu()
            intersection = (ours & theirs).sum((1, 2))
            union = (ours | theirs).sum((1, 2))
            assert bool(union.any()), "no mask has a pixel"
            overlap = intersection / union.clamp(min=1)
            assert bool(((overlap >= smallest) | (union == 0)).all()), f"masks overlap by {overlap.min():.4f}"

    return agree


def backward(contender: str) -> Callable[..., tuple[torch.Tensor, ...]]:
    """The backward pass alone. The arguments end in leaves, outputs by contender, and their gradient."""

    def run(*arguments: Any) -> tuple[torch.Tensor, ...]:
        *_, leaves, outputs, gradient = arguments
        return torch.autograd.grad(outputs[contender], leaves, gradient, retain_graph=True)

    return run


def gradients_within(tolerance: float) -> Callable[[Any, Any], None]:
    """Agreement of gradients to the tolerance.

    Beside the largest: sums of a million products may nearly cancel, and keep the rounding of all. And of
    most instances: one's gradient jumps where rounding takes a sample over the centre of a pixel.
    """

    def agree(gradients: Any, expected: Any) -> None:
        for ours, theirs in zip(gradients, expected, strict=True):
            error = (ours - theirs).abs().flatten(1).amax(1) / theirs.abs().max()
            assert error.float().quantile(0.9) <= tolerance, f"errors of {error.max():.2g} of the largest"

    return agree
