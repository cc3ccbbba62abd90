"""The masks of COCO annotations: polygons and run lengths, checked before they reach pycocotools."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from pose2seg.common.errors import InputError
from pose2seg.common.records import finite_number
from pose2seg.common.text import shown
from pose2seg_ops import RLE

# OpenCV's limits on images. pycocotools also counts pixels in 32 bits.
_LARGEST_SIDE = 2**20
MOST_PIXELS = 2**30


def is_possible(size: tuple[int, int]) -> bool:
    """Returns whether an image can have the size (height, width)."""
    return all(1 <= side <= _LARGEST_SIDE for side in size) and size[0] * size[1] <= MOST_PIXELS


def read_segmentation(segmentation: Any, size: tuple[int, int]) -> RLE:
    """Converts an annotation's "segmentation" to compressed run lengths.

    segmentation: polygons [[x, y, x, y, ...], ...] in pixels, or {"size": [H, W], "counts": ...} with run
        lengths in a list, or compressed in a string.
    size: (H, W) of the image.

    Polygons of fewer than three points cover nothing, and are ignored if there are others (`count_specks`).

    Raises InputError for any other value, if all polygons have fewer than three points, if a polygon
    is far outside of the image, if the run lengths are for another size, and if the mask has no pixel.
    """
    if isinstance(segmentation, list):
        rle = _from_polygons(segmentation, size)
    elif isinstance(segmentation, dict):
        rle = _from_runs(segmentation.get("counts"), segmentation.get("size"), size)
    else:
        raise InputError(f'"segmentation" must be polygons or run lengths, got {shown(segmentation)}')
    if coco_mask.area(rle) == 0:
        raise InputError('"segmentation" covers no pixel')
    return rle


def count_specks(segmentation: Any) -> int:
    """Returns how many polygons have fewer than three points, if there are others. Some tools write such."""
    if not isinstance(segmentation, list):
        return 0
    specks = sum(map(_is_speck, segmentation))
    return specks if specks < len(segmentation) else 0


def _is_speck(polygon: Any) -> bool:
    return isinstance(polygon, list) and len(polygon) in (0, 2, 4)


def decode(masks: list[RLE], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Decodes n masks into an array (n, H, W) of 0 and 1; n may be 0."""
    if not masks:
        return np.zeros((0, *size), np.uint8)
    return np.ascontiguousarray(coco_mask.decode(masks).transpose(2, 0, 1))


class DecodedMasks(Sequence[npt.NDArray[np.bool_]]):
    """A sequence of masks, each (H, W) bool, which are decoded only when they are accessed."""

    def __init__(self, masks: Sequence[RLE]) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, index: Any) -> Any:
        mask = self._masks[index]
        return decode([mask], (mask["size"][0], mask["size"][1]))[0].view(np.bool_)


def _from_polygons(polygons: list[Any], size: tuple[int, int]) -> RLE:
    if not polygons:
        raise InputError('"segmentation" must be polygons or run lengths, got []')
    outlines = [polygon for polygon in polygons if not _is_speck(polygon)]
    for i, polygon in enumerate(polygons):
        if outlines and _is_speck(polygon):
            continue
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            got = f"{len(polygon)} numbers" if isinstance(polygon, list) else shown(polygon)
            raise InputError(f'"segmentation"[{i}] must be x, y of at least three points, got {got}')
        for number, side in zip(polygon, size[::-1] * (len(polygon) // 2), strict=True):
            if not -side <= finite_number(number, f'"segmentation"[{i}]') <= 2 * side:
                raise InputError(f'"segmentation"[{i}] is far outside of the image: {shown(number)}')
    rle: RLE = coco_mask.merge(coco_mask.frPyObjects(outlines, *size))
    return rle


def _from_runs(counts: Any, claimed_size: Any, size: tuple[int, int]) -> RLE:
    if claimed_size != list(size):
        raise InputError(f'"segmentation" must be of size {list(size)}, got {shown(claimed_size)}')
    if isinstance(counts, str) and counts.isascii():
        runs, compressed = _decompress(counts), counts.encode()
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs, compressed = counts, None
    else:
        raise InputError(f'"counts" in "segmentation" must be a string or integers, got {shown(counts)}')
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise InputError(f'"counts" in "segmentation" must cover each of {size[0]} x {size[1]} pixels once')
    if compressed is None:
        compressed = coco_mask.frPyObjects({"size": list(size), "counts": runs}, *size)["counts"]
    return {"size": list(size), "counts": compressed}


def _decompress(counts: str) -> list[int]:
    """Decodes the run lengths in COCO's compressed string; returns [-1] if it is truncated or invalid.

    A character holds five bits of a number, the lowest first, and a sixth bit, which is set if more follow.
    From the fourth run on, a run is stored as its difference to the last but one.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return [-1]
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the sign
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs if shift == 0 else [-1]
