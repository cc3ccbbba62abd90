"""Reading a (height, width) argument."""

from collections.abc import Sequence
from operator import index


def as_size(value: Sequence[int], name: str) -> tuple[int, int]:
    """`value` as two ints; TypeError naming the argument when it is anything else. Ops check the range."""
    try:
        height, width = value
        return index(height), index(width)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be (height, width), two integers, got {value!r}") from None
