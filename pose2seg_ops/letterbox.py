"""Letterboxing: photographs of any size into one normalised network input."""

from collections.abc import Sequence

from torch import Tensor

from . import _C
from ._pairs import as_size


def letterbox(
    images: Sequence[Tensor],
    size: int | Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Resizes images about their centres to fit, pads, swaps BGR to RGB and normalises, in one pass.

    Pixel (x, y) of a W x H image goes to `s (x - W / 2) + w / 2`, likewise y, with `s = min(w / W, h / H)`.
    Bilinear; what lies outside the image is black before normalisation, so padding becomes `-mean / std`.

    Args:
        images: uint8 (H, W, 3) each, BGR as OpenCV reads them, of any sizes and strides, on one device.
        size: (h, w) of the result, or one number for a square.
        mean, std: Per channel, RGB, for values in [0, 1].

    Returns:
        The batch (B, 3, h, w), float32 RGB, and matrices (B, 2, 3), float32, image -> batch, on the same
        device.

    Raises:
        TypeError: when an image is not uint8.
        ValueError: for no images, or a shape, device, size or deviation that is not supported.
        NotImplementedError: when the device is neither cpu nor cuda.

    Source: the input of Pose2Seg (Zhang et al., CVPR 2019).
    """
    target = (size, size) if isinstance(size, int) else as_size(size, "size")
    return _C.letterbox(images, target, mean, std)
