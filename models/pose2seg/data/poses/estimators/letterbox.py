"""Letterboxes images for pose estimators, and converts positions back."""

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

_GREY = (114, 114, 114)  # the padding that YOLO and RTMO are trained with


class Letterboxed(NamedTuple):
    """A resized image with grey padding.

    image: (H, W, 3) uint8.
    scale, offset: (2,) float32; position p of the original image is at scale * p + offset.
    """

    image: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]

    def to_original(self, positions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Converts positions (..., 2) x, y in the letterboxed image to the original image."""
        return (positions - self.offset) / self.scale


def letterbox(
    image: npt.NDArray[np.uint8], size: tuple[int, int], *, centred: bool, stride: int | None = None
) -> Letterboxed:
    """Resizes an image (H, W, 3) to fit into a size (height, width), keeping its aspect ratio, and pads it.

    centred: whether the image is in the middle, with its sides rounded, as Ultralytics does it. Otherwise it
        is in the upper left corner, with its sides rounded down, as in RTMO's pipeline.
    stride: if given, the padding only reaches the next multiples of `stride`, not the whole size.
    """
    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    fitted = round if centred else int
    inner = max(fitted(height * ratio), 1), max(fitted(width * ratio), 1)
    room = size[0] - inner[0], size[1] - inner[1]
    if stride is not None:
        room = room[0] % stride, room[1] % stride
    # An odd pixel of padding is added on the right and at the bottom.
    top, left = (round(each / 2 - 0.1) for each in room) if centred else (0, 0)
    resized: Any = image
    if inner != (height, width):
        resized = cv2.resize(image, inner[::-1], interpolation=cv2.INTER_LINEAR)
    bottom, right = room[0] - top, room[1] - left
    framed: Any = cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_GREY)
    scale = np.array([inner[1] / width, inner[0] / height], np.float32)
    return Letterboxed(framed, scale, np.array([left, top], np.float32))
