"""Cut-outs of people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.common.images import write_png
from pose2seg.data.annotated_masks import DecodedMasks
from pose2seg.data.posed_images import PosedImage
from pose2seg.prediction.loop import Masks
from pose2seg.prediction.outputs.image_files import OneFileAPerson

_FAINTEST = 13  # of 255; probabilities are rarely 0, which would leave a wide margin


class Cutouts(OneFileAPerson):
    """Cut-outs NAME_1.png, NAME_2.png, ... of each person: RGBA, cropped to the visible part.

    For a person without a pixel, a single transparent pixel is written.

    soft_edges: whether the opacity of a pixel is the probability that it belongs to the person. Otherwise it
        is 255 in the mask and 0 outside.
    """

    option = "cutouts"
    names = "cut-out", "cut-outs"

    def __init__(self, folder: Path, soft_edges: bool = False) -> None:
        super().__init__(folder)
        self.needs_opacities = soft_edges

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `ImageFiles`."""
        return {"soft_edges": self.needs_opacities}

    def write_person(self, predicted: Masks[PosedImage], person: int, path: Path) -> None:
        """See `OneFileAPerson`."""
        if self.needs_opacities:
            assert predicted.opacities is not None
            opacity = predicted.opacities[person]
        else:
            opacity = 255 * DecodedMasks(predicted.masks)[person].astype(np.uint8)
        write_png(path, cut_out(predicted.content.image, opacity))


def cut_out(image: npt.NDArray[np.uint8], opacity: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Cuts out the visible part of an image, and crops margins with an opacity below 5 %.

    image: (H, W, 3) uint8 BGR.
    opacity: (H, W) uint8.

    Returns (h, w, 4) uint8 BGRA, or (1, 1, 4) if nothing is visible. Transparent pixels are black.
    """
    left, top, width, height = cv2.boundingRect((opacity >= _FAINTEST).view(np.uint8))
    if not width:
        return np.zeros((1, 1, 4), np.uint8)
    window = slice(top, top + height), slice(left, left + width)
    cropped = np.dstack([image[window], opacity[window]])
    cropped[cropped[..., 3] == 0] = 0
    return cropped
