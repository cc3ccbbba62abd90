"""Reading the arguments of the ops, and saying which one is wrong. The extension checks shapes and ranges."""

import reprlib
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor

_HALF_PRECISION = (torch.float16, torch.bfloat16)
_SHOWN = 4  # entries of a list, in a message


def as_size(value: Sequence[int], name: str) -> tuple[int, int]:
    """`value` as (height, width); TypeError naming the argument when it is anything else."""
    try:
        height, width = value
        return _as_integer(height), _as_integer(width)
    except (TypeError, ValueError):
        got = reprlib.repr(value)
        raise TypeError(f"{name} must be (height, width), two integers, got {got}") from None


def _as_integer(value: Any) -> Any:
    """An integer of numpy's as Python's. A size that a graph leaves open stays so: index() would fix it."""
    return value if isinstance(value, (int, torch.SymInt)) else index(value)


def as_pairs(value: Sequence[Sequence[int]], name: str) -> list[tuple[int, int]]:
    """`value` as a list of pairs of integers; TypeError naming the argument when it is anything else."""
    pair: Any = value
    pairs = []
    try:
        for pair in value:
            first, second = pair
            pairs.append((_as_integer(first), _as_integer(second)))
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be pairs of integers, got {reprlib.repr(pair)}") from None
    return pairs


def as_integers(value: Sequence[Any], name: str) -> list[int]:
    """A flat list of integers, or of pairs of integers; TypeError naming the argument for anything else."""
    if isinstance(value, Sequence) and all(isinstance(item, (int, torch.SymInt)) for item in value):
        return list(value)
    return [item for pair in as_pairs(value, name) for item in pair]


def pairs_of(flat: Sequence[int]) -> list[tuple[int, int]]:
    """[(a, b), (c, d), ...] of [a, b, c, d, ...]."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def as_geometry(tensor: Tensor) -> Tensor:
    """Matrices or keypoints; in float32 where they are of half precision because of autocast.

    A network that predicts them gives them so, and an op with float32 arithmetic takes what it gets, as
    torch's own do. Without autocast such a tensor is an error: half precision places nothing to the pixel.
    """
    try:
        is_half = tensor.dtype in _HALF_PRECISION
    except (AttributeError, TypeError):  # not a tensor, which the operator will say
        return tensor
    return tensor.float() if is_half and _has_autocast(tensor.device.type) else tensor


def _has_autocast(device: str) -> bool:
    # Older releases cannot compile the question whether it is available, which cpu and cuda need not.
    is_available = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return is_available and torch.is_autocast_enabled(device)


def check_type(name: str, kind: str, value: Any) -> None:
    """Raises TypeError where `value` is not of the type `kind` of an operator's schema."""
    expected, matches = _EXPECTED[kind]
    if not matches(value):
        raise TypeError(f"{name} must be {expected}, got {_described(value)}") from None


def _described(value: Any) -> str:
    """A number or a string as it is, of a list its first entries, of anything else the type."""
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return reprlib.repr(value)
    if isinstance(value, (list, tuple)) and value:
        entries = sorted({_described(entry) for entry in value[:_SHOWN]})
        more = ", ..." if len(value) > _SHOWN else ""
        return f"{type(value).__name__} of {', '.join(entries)}{more}"
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_integer(value: Any) -> bool:
    try:
        return -(2**63) <= index(value) < 2**63
    except TypeError:
        return False


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return not isinstance(value, str)


def _is_dtype(value: Any) -> bool:
    return isinstance(value, torch.dtype)


def _is_list(value: Any, matches: Callable[[Any], bool]) -> bool:
    is_list = isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)
    return is_list and all(map(matches, value))


def _fits_64_bits(value: Any) -> bool:
    """All else that can be wrong with sizes and pairs is found when they are read."""
    if isinstance(value, (list, tuple)):
        return all(map(_fits_64_bits, value))
    return not isinstance(value, int) or _is_integer(value)


_SIZES = "integers of 64 bits", _fits_64_bits
# By the types of an operator's schema.
_EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "Tensor": ("a tensor", _is_tensor),
    "Tensor[]": ("a list of tensors", lambda value: _is_list(value, _is_tensor)),
    "SymInt[2]": _SIZES,
    "SymInt[]": _SIZES,
    "int[]": _SIZES,
    "float[]": ("a list of numbers", lambda value: _is_list(value, _is_number)),
    "float": ("a number", _is_number),
    "int": ("an integer of 64 bits", _is_integer),
    "bool": ("True or False", lambda value: value is None or hasattr(value, "__bool__")),
    "str": ("a string", lambda value: isinstance(value, str)),
    "ScalarType": ("a torch.dtype", _is_dtype),
    "ScalarType?": ("a torch.dtype or None", lambda value: value is None or _is_dtype(value)),
}
