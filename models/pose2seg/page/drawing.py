"""Masks and skeletons as SVG, in the pixels of the photograph as the page shows it."""

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.visualize import joint_positions, limb_width, line_width
from pose2seg_ops import COCO_LIMBS

_TOLERANCE = 0.75  # pixels; the least that makes slanted lines of a contour's steps


def mask_path(mask: npt.NDArray[np.uint8]) -> str:
    """The "d" of an SVG path around the pixels of a mask, (H, W) of 0 and 1.

    It runs through the centres of the outermost pixels, so that a line of one pixel along it, and what the
    even-odd rule fills, are the mask to within a pixel.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    corners = [cv2.approxPolyDP(contour, _TOLERANCE, closed=True).ravel() for contour in contours]
    return "".join(f"M{' '.join(map(str, contour.tolist()))}z" for contour in corners)


def skeleton_shapes(pose: npt.NDArray[np.float32], size: tuple[int, ...]) -> str:
    """SVG of the limbs and joints of a pose, (17, 3), in a picture of (H, W) pixels.

    Each limb is there twice, the first as its rim; occluded joints (visibility 1) have class "occluded".
    """
    positions, visibility = joint_positions(pose, size), pose[:, 2]
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
