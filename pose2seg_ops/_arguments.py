"""Reading the arguments of the ops, and saying which one is wrong. The extension checks shapes and ranges."""

import reprlib
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import signature
from operator import index
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from ._build_info import CUDA_VERSION, WHY_NO_CUDA
from .coco import COCO_LIMBS

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_HALF_PRECISION = (torch.float16, torch.bfloat16)
_SHOWN = 4  # entries of a list, in a message
_FLAT_COCO_LIMBS = [joint for limb in COCO_LIMBS for joint in limb]


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


def flatten_pairs(pairs: Iterable[Sequence[int]], name: str) -> list[int]:
    """[a, b, c, d, ...] of [(a, b), (c, d), ...]; TypeError naming the argument when it is anything else."""
    flat: list[int] = []
    pair: Any = pairs
    try:
        for pair in pairs:
            first, second = pair
            flat += _as_integer(first), _as_integer(second)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be pairs of integers, got {reprlib.repr(pair)}") from None
    return flat


def flatten_limbs(limbs: Sequence[tuple[int, int]]) -> Sequence[int]:
    """One flat list; the usual limbs without a look at each, which took as long as a call.

    But for torch.compile, for which that takes nothing, and which cannot tell by `is` in older releases.
    """
    if not torch.compiler.is_compiling() and limbs is COCO_LIMBS:
        return _FLAT_COCO_LIMBS
    return flatten_pairs(limbs, "limbs")


def as_geometry(tensor: Tensor) -> Tensor:
    """Matrices or keypoints; in float32 where they are of half precision because of autocast.

    A network that predicts them gives them so, and an op with float32 arithmetic takes what it gets, as
    torch's own do. Without autocast such a tensor is an error: half precision places nothing to the pixel.
    """
    if tensor.dtype in _HALF_PRECISION and _has_autocast(tensor.device.type):
        return tensor.float()
    return tensor


def _has_autocast(device: str) -> bool:
    # Older releases cannot compile the question whether it is available, which cpu and cuda need not.
    is_available = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return is_available and torch.is_autocast_enabled(device)


def names_bad_arguments(op: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Has `op` raise a TypeError that names the argument where one is not of the annotated type.

    The types are looked at only once `op` has failed, so that a good call does not wait for it.
    """

    @wraps(op)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return op(*args, **kwargs)
        except Exception:
            if not torch.compiler.is_compiling():
                _check_types(op, args, kwargs)
            raise

    return call


def _check_types(op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    parameters = signature(op).parameters
    for name, value in (*zip(parameters, args, strict=False), *kwargs.items()):
        if name not in parameters:
            continue
        expected, matches = EXPECTED.get(parameters[name].annotation, _ANYTHING)
        if not matches(value):
            raise TypeError(f"{name} must be {expected}, got {_described(value)}") from None
        if isinstance(value, Tensor) and value.is_cuda and CUDA_VERSION is None:
            reason = f"pose2seg_ops was built without CUDA kernels: {WHY_NO_CUDA}"
            raise RuntimeError(f"{name} is on {value.device}, but {reason}") from None


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


_ANYTHING = "", lambda value: True
_SIZES = "integers of 64 bits", _fits_64_bits
EXPECTED: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    Tensor: ("a tensor", _is_tensor),
    Sequence[Tensor]: ("a list of tensors", lambda value: _is_list(value, _is_tensor)),
    Sequence[int]: _SIZES,
    int | Sequence[int]: _SIZES,
    Sequence[Sequence[int]]: _SIZES,
    Sequence[tuple[int, int]]: _SIZES,
    Sequence[float]: ("a list of numbers", lambda value: _is_list(value, _is_number)),
    float: ("a number", _is_number),
    int: ("an integer of 64 bits", _is_integer),
    bool: ("True or False", lambda value: value is None or hasattr(value, "__bool__")),
    str: ("a string", lambda value: isinstance(value, str)),
    torch.dtype: ("a torch.dtype", _is_dtype),
    torch.memory_format: ("a torch.memory_format", lambda value: isinstance(value, torch.memory_format)),
    torch.dtype | None: ("a torch.dtype or None", lambda value: value is None or _is_dtype(value)),
}
