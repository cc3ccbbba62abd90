"""Letterboxing: resizes images of any size into one normalised network input."""

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor, contiguous_format
from torch import channels_last as channels_last_format

from . import _layout
from ._operator import Operator


def letterbox(
    images: Sequence[Tensor],
    size: int | Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = contiguous_format,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Resizes images about their centres to fit, pads, swaps BGR to RGB and normalises, in one pass.

    Pixel (x, y) of a W x H image maps to `s (x - W / 2) + w / 2`, likewise y, with `s = min(w / W, h / H)`.
    Interpolation is bilinear. The area outside the image is black before normalisation, so padding becomes
    `-mean / std`.

    Args:
        images: uint8 tensors (H, W, 3), BGR as OpenCV reads them, of any sizes and strides, on one device.
        size: (h, w) of the result, or one number for a square.
        mean, std: Per channel, RGB, for values in [0, 1].
        dtype: The dtype of the batch: float32, float16 or bfloat16. Arithmetic is float32.
        memory_format: The format of the batch: `torch.contiguous_format` or `torch.channels_last`.
        out: The tensor to write the batch to, in either format, in place of a new one.

    Returns:
        The batch (B, 3, h, w), RGB, and matrices (B, 2, 3), float32, image -> batch, on the same
        device.

    Raises:
        TypeError: if an image is not a dense uint8 tensor, or the dtype is not supported.
        ValueError: if there are no images; if a shape, device, size or memory format is not supported; if a
            mean is not finite, or a deviation is not positive and finite.
        NotImplementedError: if the device is neither cpu nor cuda.

    Source: the input of Pose2Seg (Zhang et al., CVPR 2019).
    """
    target = (size, size) if type(size) is int or isinstance(size, Integral) else size
    channels_last = memory_format is channels_last_format
    if not channels_last and memory_format is not contiguous_format:
        if not isinstance(memory_format, torch.memory_format):
            raise TypeError(f"memory_format must be a torch.memory_format, got {memory_format!r}")
        raise ValueError(f"memory_format must be contiguous_format or channels_last, got {memory_format!r}")
    return _letterbox(images, target, mean, std, dtype, channels_last, out=out)


def _fake(
    images: Sequence[Tensor],
    size: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
    channels_last: bool,
) -> tuple[Tensor, Tensor]:
    device = images[0].device
    batch = torch.empty(
        (len(images), 3, *size),
        dtype=dtype,
        device=device,
        memory_format=_layout.memory_format(channels_last),
    )
    return batch, torch.empty(len(images), 2, 3, dtype=torch.float32, device=device)


_letterbox = Operator(
    "letterbox(Tensor[] images, SymInt[2] size, float[] mean, float[] std, ScalarType dtype, "
    "bool channels_last) -> (Tensor, Tensor)",
    _fake,
)
