"""Drawing masks and poses."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.data.poses import Person
from pose2seg.network.templates import without_rare_joints
from pose2seg_ops import COCO_LIMBS

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

# BGR; neighbours differ in hue and in lightness, so that colour-blind people can distinguish them.
_COLOURS: tuple[Colour, ...] = (
    (255, 144, 30),
    (36, 127, 255),
    (80, 200, 60),
    (211, 70, 200),
    (40, 215, 255),
    (70, 60, 235),
    (200, 210, 40),
    (180, 130, 250),
)
_PREDICTED, _ANNOTATED = _COLOURS[:2]
_BLACK = (0, 0, 0)
_WHITE = (255, 255, 255)
_GREY = (150, 150, 150)
_OPACITY = 0.5
_SUBPIXEL_BITS = 4
_FOOTER = 48
_PANEL = 320


def person_colour(number: int) -> Colour:
    """Returns the BGR colour of a person's mask, contour and skeleton, for a number of `colour_numbers`."""
    return _COLOURS[number % len(_COLOURS)]


def colour_numbers(people: Sequence[Person]) -> list[int]:
    """Returns the colour number of each person: that of the track or, without one, the person's position."""
    return [i if person.track_id is None else person.track_id for i, person in enumerate(people)]


def line_width(size: tuple[int, ...]) -> int:
    """Returns the width of contours and limbs in an image of (H, W) pixels; at most its shorter side."""
    return max(1, min(round(max(size) / 400), *size))


def limb_width(labelled: npt.NDArray[np.float32], widest: int) -> int:
    """Returns the width of limbs: `widest`, or less for a small person.

    labelled: (n, 2) the labelled joints in pixels, which would touch each other on a small person.
    """
    extent = float(np.ptp(labelled, axis=0).max()) if len(labelled) else math.inf
    return max(1, round(min(widest, extent / 60)))


def within_reach(positions: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Clips positions (..., 2) far outside of the (H, W) pixels to a range that every renderer accepts."""
    beyond = 4 * max(size)
    return np.clip(positions, -beyond, beyond)


def draw_overlay(
    image: Image,
    masks: Collection[npt.NDArray[np.bool_]],
    keypoints: npt.NDArray[np.float32],
    numbers: Sequence[int] | None = None,
) -> Image:
    """Draws masks, their contours and the skeletons over a copy of an image.

    Everything of one person has the same colour. Occluded joints (visibility 1) are drawn hollow.

    image: (H, W, 3) uint8 BGR.
    masks: n masks, (H, W) bool each.
    keypoints: (n, 17, 3) x, y, COCO visibility.
    numbers: the colour number of each person, by default their order.

    Returns a new image, (H, W, 3) uint8 BGR.
    """
    colours = [person_colour(i) for i in (range(len(masks)) if numbers is None else numbers)]
    line = line_width(image.shape[:2])
    canvas = image.copy()
    for mask, colour in zip(masks, colours, strict=True):
        canvas[mask] = (_OPACITY * canvas[mask] + (1 - _OPACITY) * np.array(colour)).astype(np.uint8)
    for mask, colour in zip(masks, colours, strict=True):
        _draw_outline(canvas, mask, colour, line)
    for pose, colour in zip(keypoints, colours, strict=True):
        _draw_skeleton(canvas, pose, colour, line)
    return canvas


def draw_templates(means: npt.NDArray[Any], captions: Sequence[str]) -> Image:
    """Draws pose templates side by side, each in its unit square, with a caption.

    means: (k, 17, 3) x, y in the unit square and mean visibility, as from `cluster_poses`. Joints that
        `load_templates` would drop are left out.

    Returns (320, 320 k, 3) uint8 BGR.
    """
    panels = []
    for i, (template, caption) in enumerate(zip(without_rare_joints(means), captions, strict=True)):
        panel = np.full((_PANEL, _PANEL, 3), 255, np.uint8)
        cv2.rectangle(panel, (0, 0), (_PANEL - 1, _PANEL - 1), _GREY)
        cv2.putText(panel, caption, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, _GREY, 1, cv2.LINE_AA)
        pose = np.where(template[:, 2:] > 0, template * (_PANEL, _PANEL, 0) + (0, 0, 2), 0)
        pose[:, :2] = within_reach(pose[:, :2], panel.shape)
        _draw_skeleton(panel, pose.astype(np.float32), person_colour(i), line=3)
        panels.append(panel)
    return np.hstack(panels)


def _draw_skeleton(canvas: Image, pose: npt.NDArray[np.float32], colour: Colour, line: int) -> None:
    """Draws limbs and joints, with white rims that separate them from a mask of the same colour."""
    positions = within_reach(pose[:, :2], canvas.shape[:2])
    points = np.rint(positions * 2**_SUBPIXEL_BITS).astype(int).tolist()
    labelled = pose[:, 2] > 0
    line = limb_width(positions[labelled], line)
    for thickness, stroke in ((line + 2, _WHITE), (line, colour)):
        for a, b in COCO_LIMBS:
            if labelled[a] and labelled[b]:
                cv2.line(canvas, points[a], points[b], stroke, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    for point, visibility in zip(points, pose[:, 2], strict=True):
        if visibility > 0:
            rim, centre = (colour, _WHITE) if visibility == 1 else (_WHITE, colour)
            _draw_disc(canvas, point, line + 2, rim)
            _draw_disc(canvas, point, line + 1, centre)


def _draw_disc(canvas: Image, centre: tuple[int, int], radius: int, colour: Colour) -> None:
    cv2.circle(canvas, centre, radius << _SUBPIXEL_BITS, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_comparison(
    image: Image,
    annotated: Collection[npt.NDArray[np.bool_]],
    predicted: Collection[npt.NDArray[np.bool_]],
    caption: str,
) -> Image:
    """Draws an image next to a copy with the outlines of annotated and of predicted masks.

    image: (H, W, 3) uint8 BGR.
    annotated, predicted: any number of masks, (H, W) bool.
    caption: a line of text for the bottom.

    Returns (H + 48, 2 W, 3) uint8 BGR.
    """
    outlined = image.copy()
    line = line_width(image.shape[:2])
    for masks, colour, width in ((annotated, _ANNOTATED, line + 2), (predicted, _PREDICTED, line)):
        for mask in masks:
            _draw_outline(outlined, mask, colour, width)
    panels = np.hstack([image, outlined])
    footer = np.full((_FOOTER, panels.shape[1], 3), 255, np.uint8)
    _write(footer, caption, (8, 18), _BLACK)
    _write(footer, "annotated", (8, 40), _ANNOTATED)
    _write(footer, "predicted", (108, 40), _PREDICTED)
    return np.vstack([panels, footer])


def _draw_outline(canvas: Image, mask: npt.NDArray[np.bool_], colour: Colour, line: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, line, cv2.LINE_AA)


def _write(canvas: Image, text: str, position: tuple[int, int], colour: Colour) -> None:
    text = text.encode("ascii", "replace").decode()  # OpenCV crashes on lone surrogates
    cv2.putText(canvas, text, position, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
