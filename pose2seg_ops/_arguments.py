"""Conversion and type checks of the arguments of the ops. The extension checks shapes and ranges."""

import reprlib
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor

_HALF_PRECISION = (torch.float16, torch.bfloat16)
_SHOWN = 4  # number of entries of a list that a message shows


def as_size(value: Sequence[int], name: str) -> tuple[int, int]:
    """Returns `value` as (height, width). Raises TypeError naming the argument for anything else."""
    try:
        height, width = value
        return _as_integer(height), _as_integer(width)
    except (TypeError, ValueError):
        got = reprlib.repr(value)
        raise TypeError(f"{name} must be (height, width), two integers, got {got}") from None


def _as_integer(value: Any) -> Any:
    """Converts an integer of any type to int. Keeps a SymInt, which index() would specialize."""
    return value if isinstance(value, (int, torch.SymInt)) else index(value)


def as_pairs(value: Sequence[Sequence[int]], name: str) -> list[tuple[int, int]]:
    """Returns `value` as a list of pairs of integers. Raises TypeError naming the argument for anything
    else."""
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
    """Returns a flat list of integers from integers or pairs of integers.

    Raises TypeError naming the argument for anything else.
    """
    if isinstance(value, Sequence) and all(isinstance(item, (int, torch.SymInt)) for item in value):
        return list(value)
    return [item for pair in as_pairs(value, name) for item in pair]


def pairs_of(flat: Sequence[int]) -> list[tuple[int, int]]:
    """Returns [(a, b), (c, d), ...] for [a, b, c, d, ...]."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def as_geometry(tensor: Tensor) -> Tensor:
    """Casts matrices or keypoints of half precision to float32 if autocast is enabled.

    Under autocast a network predicts them in half precision, and an op that computes in float32 casts its
    arguments, as torch's own ops do. Without autocast half precision is an error, since it cannot represent
    positions to the pixel.
    """
    try:
        is_half = tensor.dtype in _HALF_PRECISION
    except (AttributeError, TypeError):  # not a tensor; the operator raises the error
        return tensor
    return tensor.float() if is_half and _has_autocast(tensor.device.type) else tensor


def _has_autocast(device: str) -> bool:
    # Older releases cannot compile is_autocast_available, which is not needed for cpu and cuda.
    is_available = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return is_available and torch.is_autocast_enabled(device)


def check_type(name: str, kind: str, value: Any) -> None:
    """Raises TypeError unless `value` matches the type `kind` of an operator schema."""
    expected, matches = _EXPECTED[kind]
    if not matches(value):
        raise TypeError(f"{name} must be {expected}, got {_describe(value)}") from None


def _describe(value: Any) -> str:
    """Describes a value in a message: a number or a string by its repr, a list by its first entries, anything
    else by its type."""
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return reprlib.repr(value)
    if isinstance(value, (list, tuple)) and value:
        entries = sorted({_describe(entry) for entry in value[:_SHOWN]})
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
    """Checks only the range of integers; other errors in sizes and pairs are found when they are read."""
    if isinstance(value, (list, tuple)):
        return all(map(_fits_64_bits, value))
    return not isinstance(value, int) or _is_integer(value)


_SIZES = "integers of 64 bits", _fits_64_bits
# Maps each type of an operator schema to its description and its check.
_EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "Tensor": ("a tensor", _is_tensor),
    "Tensor[]": ("a list of tensors", lambda value: _is_list(value, _is_tensor)),
    "SymInt[2]": _SIZES,
    "SymInt[]": _SIZES,
    "int[]": _SIZES,
    "float[]": ("a list of numbers", lambda value: _is_list(value, _is_number)),
    "float": ("a number", _is_number),
    "float?": ("a number or None", lambda value: value is None or _is_number(value)),
    "int": ("an integer of 64 bits", _is_integer),
    "bool": ("True or False", lambda value: value is None or hasattr(value, "__bool__")),
    "str": ("a string", lambda value: isinstance(value, str)),
    "ScalarType": ("a torch.dtype", _is_dtype),
    "ScalarType?": ("a torch.dtype or None", lambda value: value is None or _is_dtype(value)),
}
