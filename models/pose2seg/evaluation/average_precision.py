"""COCO's average precision of masks, computed by pycocotools."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pose2seg.data.dataset import PersonImage
from pose2seg_ops import RLE

_CATEGORY = 1  # the only category


class ScoredMask(NamedTuple):
    """A predicted mask and its score."""

    mask: RLE
    score: float


class AveragePrecision(NamedTuple):
    """COCO's "segm" scores; nan if nobody is annotated.

    ap: the average precision, as the mean over the IoU thresholds 0.50, 0.55 ... 0.95.
    ap50, ap75: the average precision at one threshold.
    ap_small, ap_medium, ap_large: the average precision for people with an annotated area of up to 32^2
        pixels, up to 96^2 pixels, and above.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float


def average_precision(
    images: Sequence[PersonImage], predictions: Sequence[Sequence[ScoredMask]]
) -> tuple[AveragePrecision, list[float]]:
    """Returns the scores of predicted masks against the people of the images, and the F1 of each image.

    The F1 of an image is 2 matches / (people + predictions), with COCO's matching of masks and people, as the
    mean over the IoU thresholds.

    If scores are equal, as for annotated poses, COCO's result depends on the order. As in `COCOeval`, images
    are sorted by their ids, the predictions of an image keep their order, and at most 100 predictions of an
    image are used, those with the highest scores.
    """
    order = sorted(range(len(images)), key=lambda i: _place(images[i].image_id))
    images = [images[i] for i in order]
    truths = _as_coco(
        images, ([{"segmentation": p.segmentation, "area": p.area} for p in image.people] for image in images)
    )
    detections = _as_coco(
        images,
        (
            [{"segmentation": m, "area": coco_mask.area(m), "score": score} for m, score in predictions[i]]
            for i in order
        ),
    )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco = COCOeval(truths, detections, "segm")
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    scores = [float(score) if score >= 0 else float("nan") for score in coco.stats[:6]]
    of_all_sizes = coco.evalImgs[: len(images)]  # followed by those of small people, and so on
    f1 = {i: _f1(matches) for i, matches in zip(order, of_all_sizes, strict=True)}
    return AveragePrecision(*scores), [f1[i] for i in range(len(images))]


def _place(image_id: int | str) -> tuple[bool, int | str]:
    """Returns a sort key that puts numbers before names."""
    return isinstance(image_id, str), image_id


def _as_coco(images: Sequence[PersonImage], people: Iterable[Iterable[dict[str, Any]]]) -> COCO:
    """Returns images and people as COCO data, numbered from 1, because COCOeval uses 0 for no match."""
    annotations: list[dict[str, Any]] = []
    for number, of_image in enumerate(people, start=1):
        for person in of_image:
            place = {"id": len(annotations) + 1, "image_id": number, "category_id": _CATEGORY, "iscrowd": 0}
            annotations.append(place | person)
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": number, "height": image.size[0], "width": image.size[1]}
            for number, image in enumerate(images, start=1)
        ],
        "categories": [{"id": _CATEGORY}],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _f1(image: dict[str, Any] | None) -> float:
    """Returns the F1 of an entry of `COCOeval.evalImgs`; None is an image without people and predictions."""
    if image is None:
        return float("nan")
    thresholds, predictions = image["dtMatches"].shape
    matches = np.count_nonzero(image["dtMatches"]) / thresholds  # the mean over the thresholds
    return 2 * matches / (len(image["gtIds"]) + predictions)
