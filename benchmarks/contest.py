"""A contest: one computation, and those who can do it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

OURS = "pose2seg_ops"
REFERENCE = "reference"
#: Allocating and filling an output of the size of ours: what a bandwidth-bound op cannot go below.
FLOOR = "floor"


@dataclass(frozen=True)
class Contest:
    """Our op and its rivals on the same input.

    op: the name of the op.
    case: what tells this contest from the others of the op, such as "N=8, channels_last".
    inputs: makes the arguments of the contenders on a device.
    contenders: OURS, REFERENCE and others by name; REFERENCE is what all but FLOOR have to agree with.
    bars: by name of a contender, the smallest (its time / our time) that will do.
    tolerance: relative and absolute, of the agreement.
    longest: seconds that ours may take, where that is the bar.
    missing: by name of a contender that cannot take part here, why.
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
    missing: Mapping[str, str] = field(default_factory=dict)

    def check(self, arguments: tuple[Any, ...]) -> None:
        """Raises AssertionError unless all contenders agree with the reference."""
        expected = self.contenders[REFERENCE](*arguments)
        for name, run in self.contenders.items():
            if name not in (REFERENCE, FLOOR):
                result = run(*arguments)
                try:
                    self._agree(result, expected)
                except AssertionError as error:
                    raise AssertionError(f"{self.op}, {self.case}: {name} disagrees: {error}") from error

    def _agree(self, result: Any, expected: Any) -> None:
        if self.agree is not None:
            self.agree(result, expected)
        else:
            torch.testing.assert_close(result, expected, rtol=self.tolerance, atol=self.tolerance)

    def __str__(self) -> str:
        return f"{self.op}-{self.case}".replace(", ", "-").replace(" ", "_")


def overlap_at_least(smallest: float) -> Callable[[Any, Any], None]:
    """Agreement of masks (lists of bool (n, H, W)): each person's intersection over union."""

    def agree(masks: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
        for ours, theirs in zip(masks, expected, strict=True):
            intersection = (ours & theirs).sum((1, 2))
            union = (ours | theirs).sum((1, 2))
            overlap = intersection / union.clamp(min=1)
            assert bool(((overlap >= smallest) | (union == 0)).all()), f"masks overlap by {overlap.min():.4f}"

    return agree
