"""Tests with known average precisions; `test_evaluation_files` compares with COCOeval on files."""

import math
from pathlib import Path

import numpy as np
import pytest
from pose2seg.data.dataset import PersonImage, PersonMask
from pose2seg.evaluation.average_precision import ScoredMask, average_precision
from pycocotools import mask as coco_mask
from shared_data import real_images

from pose2seg_ops import RLE

SIZE = (60, 200)
POSE = np.full((17, 3), 2, np.float32)


def square(x: int, side: int = 20) -> RLE:
    mask = np.zeros(SIZE, np.uint8)
    mask[:side, x : x + side] = 1
    rle: RLE = coco_mask.encode(np.asfortranarray(mask))
    return rle


def image(image_id: int | str, *masks: RLE, area: float | None = None) -> PersonImage:
    people = [
        PersonMask(i, POSE, mask, float(coco_mask.area(mask)) if area is None else area, (0, 0, 1, 1))
        for i, mask in enumerate(masks)
    ]
    return PersonImage(image_id, Path("x.png"), SIZE, people)


def sure(*masks: RLE) -> list[ScoredMask]:
    return [ScoredMask(mask, 1.0) for mask in masks]


def test_the_annotated_masks_have_an_average_precision_of_one() -> None:
    images = [image(0, square(0), square(50)), image(1, square(90, 40)), image(2, square(9), area=1e5)]
    precision, f1 = average_precision(
        images, [sure(square(0), square(50)), sure(square(90, 40)), sure(square(9))]
    )
    np.testing.assert_allclose(precision, 1, rtol=1e-12)
    assert f1 == [1, 1, 1]


def test_sizes_without_people_have_no_average_precision() -> None:
    precision, _ = average_precision([image(0, square(0))], [sure(square(0))])
    assert precision.ap_small == pytest.approx(1)
    assert math.isnan(precision.ap_medium)
    assert math.isnan(precision.ap_large)


@pytest.mark.parametrize(("shift", "thresholds"), [(0, 10), (1, 9), (2, 7), (4, 4), (6, 1), (7, 0), (20, 0)])
def test_a_shifted_mask_is_a_match_up_to_its_iou(shift: int, thresholds: int) -> None:
    """The IoU of squares of 20 pixels is (20 - shift) / (20 + shift)."""
    assert sum((20 - shift) / (20 + shift) >= t for t in np.arange(50, 100, 5) / 100) == thresholds
    precision, (f1,) = average_precision([image(0, square(0))], [sure(square(shift))])
    assert precision.ap == pytest.approx(thresholds / 10)
    assert precision.ap50 == pytest.approx(float(thresholds >= 1))
    assert precision.ap75 == pytest.approx(float(thresholds >= 6))
    assert f1 == pytest.approx(thresholds / 10)


@pytest.mark.parametrize("ids", [(1, 2), ("1", "2"), (10, "1"), (9, 10), ("10", "9")])
@pytest.mark.parametrize("swapped", [False, True])
def test_equal_scores_are_sorted_by_the_id_of_the_image(ids: tuple[int | str, ...], swapped: bool) -> None:
    """One of two people is found, so half of COCO's 101 recalls are reached, with a precision of 1 or 1/2."""
    right, wrong = image(ids[0], square(0)), image(ids[1], square(0))
    images, predictions = [right, wrong], [sure(square(0)), sure(square(100))]
    precision, f1 = average_precision(images, predictions)
    assert precision.ap == pytest.approx(51 / 101)
    assert f1 == [1, 0]
    if swapped:
        precision, f1 = average_precision(images[::-1], predictions[::-1])
        assert precision.ap == pytest.approx(51 / 101)
        assert f1 == [0, 1]
    precision, _ = average_precision(images, predictions[::-1])
    assert precision.ap == pytest.approx(51 / 101 / 2)


@pytest.mark.parametrize(("score", "expected"), [(0.4, 1), (0.6, 0.5)])
def test_a_false_positive_costs_precision_if_its_score_is_higher(score: float, expected: float) -> None:
    predictions = [ScoredMask(square(0), 0.5), ScoredMask(square(100), score)]
    precision, (f1,) = average_precision([image(0, square(0))], [predictions])
    assert precision.ap == pytest.approx(expected)
    assert f1 == pytest.approx(2 / 3)


def test_people_without_a_mask_are_missed() -> None:
    images = [image(0, square(0)), image(1, square(0), square(50))]
    assert average_precision(images, [[], []])[0].ap == 0
    precision, f1 = average_precision(images, [[], sure(square(0))])
    assert precision.ap == pytest.approx(34 / 101)  # the recalls 0, 0.01 ... 0.33
    assert f1 == [0, pytest.approx(2 / 3)]


def test_images_without_people_have_no_f1() -> None:
    precision, f1 = average_precision([image(0), image(1, square(0))], [[], sure(square(0))])
    assert precision.ap == pytest.approx(1)
    assert math.isnan(f1[0])
    assert f1[1] == 1


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    average_precision([image(0, square(0))], [sure(square(0))])
    assert capsys.readouterr() == ("", "")


def test_real_annotations_have_an_average_precision_of_one() -> None:
    images = real_images()
    predictions = [sure(*(person.segmentation for person in image.people)) for image in images]
    precision, f1 = average_precision(images, predictions)
    # COCO has no keypoints of people who are so small.
    assert math.isnan(precision.ap_small)
    np.testing.assert_allclose(precision._replace(ap_small=1), 1, rtol=1e-12)
    assert f1 == [1] * 100
