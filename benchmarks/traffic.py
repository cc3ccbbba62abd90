"""The bytes that an op must move, by the model of docs/kernels.md: its inputs and outputs, once each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor


def _all(arguments: Any, result: Any) -> int:
    return sum(_sizes(arguments)) + sum(_sizes(result))


def _windows(arguments: tuple[Any, ...], result: Tensor) -> int:
    input, *others = arguments
    matrices = next(other for other in others if other.shape[1:] == (2, 3))
    return _under_windows(input, matrices, result.shape[-2:]) + _all(others, result)


def _gradient_of_input(arguments: tuple[Any, ...], result: tuple[Tensor, ...]) -> int:
    leaves, _, _, gradient = arguments
    return _all((leaves["matrices"], gradient), result)


def _gradient_of_matrices(arguments: tuple[Any, ...], result: tuple[Tensor, ...]) -> int:
    leaves, _, _, gradient = arguments
    sampled = _under_windows(leaves["input"], leaves["matrices"], gradient.shape[-2:])
    return sampled + _gradient_of_input(arguments, result)


def _under_windows(input: Tensor, matrices: Tensor, size: Sequence[int]) -> int:
    """Returns the bytes of the input under windows of that size, each counted once: at most the whole
    input."""
    pixels = float((size[0] * size[1] / matrices[:, :, :2].detach().double().det().abs()).sum())
    whole = input.shape[0] * input.shape[2] * input.shape[3]
    return round(min(pixels, whole) * input.shape[1] * input.element_size())


def _sizes(value: Any) -> Iterator[int]:
    """Yields the bytes of every tensor and of run lengths."""
    if isinstance(value, Tensor):
        yield value.numel() * value.element_size()
    elif isinstance(value, bytes):
        yield len(value)
    elif isinstance(value, Mapping):
        yield from _sizes(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _sizes(part)


#: Maps the op of a `Case` to a function from arguments and result to the bytes read and written.
MODELS: dict[str, Callable[[tuple[Any, ...], Any], int]] = {
    "affine_align": _windows,
    "affine_align backward to input": _gradient_of_input,
    "affine_align backward to matrices": _gradient_of_matrices,
    "align_with_skeleton": _windows,
    "encode_rle": _all,
    "fit_pose_templates": _all,
    "letterbox": _all,
    "paste_masks": _all,
    "paste_rle": _all,
    "skeleton_maps": _all,
}
