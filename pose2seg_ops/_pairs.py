"""Reading arguments that are pairs of integers. The ops check their range."""

from collections.abc import Iterable, Sequence
from operator import index


def as_size(value: Sequence[int], name: str) -> tuple[int, int]:
    """`value` as (height, width); TypeError naming the argument when it is anything else."""
    try:
        height, width = value
        return index(height), index(width)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be (height, width), two integers, got {value!r}") from None


def flatten_pairs(pairs: Iterable[Sequence[int]], name: str) -> list[int]:
    """[a, b, c, d, ...] of [(a, b), (c, d), ...]; TypeError naming the argument when it is anything else."""
    flat: list[int] = []
    for pair in pairs:
        try:
            first, second = pair
            flat += index(first), index(second)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must be pairs of integers, got {pair!r}") from None
    return flat
