"""Conversion of masks to COCO results."""

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from pycocotools import mask as coco_mask

from pose2seg.common.remarks import DatasetWarning
from pose2seg.data.poses import ImagePoses
from pose2seg_ops import RLE

_PERSON = 1  # the COCO category


def to_coco_results(
    poses: ImagePoses, masks: Sequence[RLE], qualities: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Yields the COCO segmentation results of an image, whose masks are in the order of its people.

    "score" is that of the pose, and "quality" that of the mask; "annotation_id" and "track_id" are added if
    the pose has them.
    """
    for person, rle, quality in zip(poses.people, masks, qualities, strict=True):
        result = {
            "image_id": poses.image_id,
            "category_id": _PERSON,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
            "score": person.score,
            "quality": round(quality, 4),
        }
        if person.annotation_id is not None:
            result["annotation_id"] = person.annotation_id
        if person.track_id is not None:
            result["track_id"] = person.track_id
        yield result


def count_empty(masks: Iterable[RLE]) -> int:
    """Returns the number of masks without a pixel."""
    return sum(int(coco_mask.area(mask)) == 0 for mask in masks)


def warn_of_empty_masks(empty: int, masks: int) -> None:
    """Issues a DatasetWarning if most masks are empty."""
    if 2 * empty > masks:
        why = "the model needs more training, or the poses are not those of the images"
        warnings.warn(f"{empty:,} of {masks:,} masks are empty: {why}", DatasetWarning, stacklevel=3)


def encode_results(results: Iterable[dict[str, Any]]) -> list[bytes]:
    """Encodes each result as JSON for `write_results`."""
    return [json.dumps(result).encode() for result in results]


def write_results(file: BinaryIO, results: Iterable[bytes]) -> int:
    """Writes encoded results as a JSON list, one per line. Returns how many there are."""
    count = 0
    file.write(b"[")
    for count, result in enumerate(results, start=1):
        file.write(b"\n" if count == 1 else b",\n")
        file.write(result)
    file.write(b"\n]\n")
    return count
