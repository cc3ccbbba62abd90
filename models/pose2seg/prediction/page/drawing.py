"""Masks and skeletons as SVG, in pixels of the image as the page shows it."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from pose2seg.prediction.drawing import limb_width, line_width, within_reach
from pose2seg_ops import COCO_LIMBS, RLE

Positions = npt.NDArray[np.float32]
Scale = npt.NDArray[np.float32]

_TOLERANCE = 0.75  # pixels; the smallest tolerance that turns the steps of a contour into slanted lines


def mask_path(rle: RLE, scale: Scale) -> str:
    """Returns the "d" of an SVG path around a mask, in an image that is scaled by `scale` (x, y).

    It runs through the centres of the outermost pixels. Filled with the even-odd rule, and with a stroke of
    one pixel, it equals the mask to within a pixel.
    """
    left, top, width, height = (int(number) for number in coco_mask.toBbox(rle))
    if width == 0:
        return ""
    window = np.ascontiguousarray(coco_mask.decode(rle)[top : top + height, left : left + width])
    contours, _ = cv2.findContours(window, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(left, top))
    shown = [_scaled(contour.astype(np.float32), scale) for contour in contours]
    return "".join(_closed(cv2.approxPolyDP(contour, _TOLERANCE, closed=True)) for contour in shown)


def _scaled(positions: Positions, scale: Scale) -> Positions:
    return (positions + 0.5) * scale - 0.5  # pixel centres are at integers, before and after


def _closed(corners: npt.NDArray[Any]) -> str:
    return f"M{' '.join(f'{number:g}' for number in corners.ravel().round(1))}z"


def skeleton_shapes(pose: Positions, scale: Scale, size: tuple[int, ...]) -> str:
    """Returns SVG of the limbs and joints of a pose, (17, 3), in an image scaled by `scale` to (H, W) pixels.

    The limbs are drawn twice, first as their rims. Occluded joints (visibility 1) have the class "occluded".
    """
    positions, visibility = within_reach(_scaled(pose[:, :2], scale), size), pose[:, 2]
    line = limb_width(positions[visibility > 0], line_width(size))
    points = [f"{x:.1f} {y:.1f}" for x, y in positions.tolist()]
    limbs = "".join(
        f"M{points[a]}L{points[b]}" for a, b in COCO_LIMBS if visibility[a] > 0 and visibility[b] > 0
    )
    shapes = [f'<path class="rim" d="{limbs}" stroke-width="{line + 2}"/>'] if limbs else []
    shapes += [f'<path d="{limbs}" stroke-width="{line}"/>'] if limbs else []
    for (x, y), seen in zip(positions.tolist(), visibility.tolist(), strict=True):
        if seen > 0:
            kind = ' class="occluded"' if seen == 1 else ""
            shapes.append(f'<circle{kind} cx="{x:.1f}" cy="{y:.1f}" r="{line + 1.5}"/>')
    return "".join(shapes)
