"""Outlines of masks as polygons."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.int32]


def outline_polygons(mask: npt.NDArray[np.bool_]) -> list[Ring]:
    """Returns a polygon around each connected part of a mask, along the edges of its pixels.

    A hole becomes a part of the polygon around it: both outlines are joined by a cut of zero width. With the
    even-odd rule, the polygons cover exactly the mask.

    mask: (H, W) bool.

    Returns polygons (n, 2) int32, whose points x, y are corners of pixels. Pixel (x, y) covers the square
    from (x, y) to (x + 1, y + 1).
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return []
    window = mask[top : top + height, left : left + width].view(np.uint8)
    # At twice the size, each of the four subpixels of a pixel stands for the corner that it touches.
    doubled = np.repeat(np.repeat(window, 2, axis=0), 2, axis=1)
    contours, (hierarchy,) = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    corner = np.array([left, top], np.int32)
    rings = [_corners((contour[:, 0].astype(np.int32) + 1) // 2) + corner for contour in contours]
    parts: dict[int, list[Ring]] = {i: [rings[i]] for i, of in enumerate(hierarchy) if of[3] < 0}
    for ring, of in zip(rings, hierarchy, strict=True):
        if of[3] >= 0:
            parts[of[3]].append(ring)
    return [join_rings(part) for part in parts.values()]


def join_rings(rings: Sequence[Ring]) -> Ring:
    """Joins polygons into one, by cuts of zero width.

    rings: at least one polygon, (n, 2) int32.

    Returns a polygon (m, 2) int32, which covers the same pixels with the even-odd rule.
    """
    joined = rings[0]
    for ring in rings[1:]:
        here, there = _nearest(joined, ring)
        walk = np.roll(ring, -there, axis=0)
        joined = np.concatenate([joined[: here + 1], walk, walk[:1], joined[here:]])
    return joined


def _corners(ring: Ring) -> Ring:
    """Removes the points on straight lines, and repeated points."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    back = (before * after).sum(axis=1) < 0
    return ring[turns | back]


def _nearest(ring: Ring, other: Ring) -> tuple[int, int]:
    """Returns the indices of the two closest points of two polygons."""
    best = np.inf, 0, 0
    for i, point in enumerate(other):
        distances = ((ring - point) ** 2).sum(axis=1)
        nearest = int(distances.argmin())
        best = min(best, (distances[nearest], nearest, i))
    return best[1], best[2]
