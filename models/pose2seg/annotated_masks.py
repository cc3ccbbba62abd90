"""The masks of COCO annotations: polygons and run lengths, checked before pycocotools sees them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from pose2seg.errors import InputError
from pose2seg.files import finite_number, shown
from pose2seg_ops import RLE


def read_segmentation(segmentation: Any, size: tuple[int, int]) -> RLE:
    """An annotation's "segmentation" as compressed run lengths.

    segmentation: polygons [[x, y, x, y, ...], ...] in pixels, or {"size": [H, W], "counts": ...} with run
        lengths in a list, or compressed in a string.
    size: (H, W) of the image.

    Polygons of less than three points cover nothing, and do not matter beside others (`count_specks`).

    Raises InputError for anything else, for polygons of less than three points alone, for one far outside of
    the image, for run lengths of another size, and for a mask without a pixel.
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
    """How many polygons of less than three points stand beside others, left behind by a tool or a slip."""
    if not isinstance(segmentation, list):
        return 0
    specks = sum(map(_is_speck, segmentation))
    return specks if specks < len(segmentation) else 0


def _is_speck(polygon: Any) -> bool:
    return isinstance(polygon, list) and len(polygon) in (0, 2, 4)


def decode(masks: list[RLE], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(n, H, W) of 0 and 1; n may be 0."""
    if not masks:
        return np.zeros((0, *size), np.uint8)
    return np.ascontiguousarray(coco_mask.decode(masks).transpose(2, 0, 1))


class DecodedMasks(Sequence[npt.NDArray[np.bool_]]):
    """Masks, (H, W) bool each, of which only the one that is looked at is in memory."""

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
            raise InputError(f'"segmentation"[{i}] must be x, y of three points or more, got {got}')
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
        raise InputError(f'"counts" in "segmentation" must cover {size[0]} x {size[1]} pixels, once each')
    if compressed is None:
        compressed = coco_mask.frPyObjects({"size": list(size), "counts": runs}, *size)["counts"]
    return {"size": list(size), "counts": compressed}


def _decompress(counts: str) -> list[int]:
    """The run lengths in COCO's compressed string; -1 where it is cut off or holds a foreign character.

    Five bits a character, the lowest first; the sixth says that more follow. From the fourth on a run is
    stored as the difference to the last but one.
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
