"""Tests that polygons cover exactly their masks, with several renderers."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polygons import filled_pixel_by_pixel
from pose2seg.prediction.outputs.outline import join_rings, outline_polygons
from pycocotools import mask as coco_mask


def filled_by_pycocotools(polygons: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    if not polygons:
        return np.zeros(size, bool)
    rles = coco_mask.frPyObjects([polygon.flatten().astype(float).tolist() for polygon in polygons], *size)
    return np.asarray(coco_mask.decode(coco_mask.merge(rles))).astype(bool)


def blobs(seed: int, size: tuple[int, int], smoothing: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=size)
    return (cv2.GaussianBlur(noise, (0, 0), smoothing) > 0).astype(bool) if smoothing else noise > 0


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    smoothing=st.sampled_from((0.0, 0.8, 2.0, 5.0)),
)
def test_polygons_are_exactly_the_mask(seed, size, smoothing):
    mask = blobs(seed, size, smoothing)
    polygons = outline_polygons(mask)
    np.testing.assert_array_equal(filled_by_pycocotools(polygons, size), mask)
    np.testing.assert_array_equal(filled_pixel_by_pixel(polygons, size), mask)
    parts, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert len(polygons) == parts - 1
    if polygons:
        joined = [join_rings(polygons)]
        np.testing.assert_array_equal(filled_pixel_by_pixel(joined, size), mask)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["#"], [[(0, 0), (0, 1), (1, 1), (1, 0)]]),
        (["...", ".##", "..."], [[(1, 1), (1, 2), (3, 2), (3, 1)]]),
        (["#.", ".."], [[(0, 0), (0, 1), (1, 1), (1, 0)]]),
        (["..", ".."], []),
    ],
)
def test_the_corners_of_small_masks(rows, expected):
    mask = np.array([[pixel == "#" for pixel in row] for row in rows])
    assert [[tuple(point) for point in polygon] for polygon in outline_polygons(mask)] == expected


def test_a_hole_is_joined_to_the_outline_around_it():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    (polygon,) = outline_polygons(mask)
    assert len(polygon) == 4 + 4 + 2, "both outlines, and the ends of the cut twice"
