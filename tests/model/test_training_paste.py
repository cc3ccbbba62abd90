"""Tests of pasting people into images: pixels, masks and joints must agree."""

import numpy as np
import pytest
from pose2seg.training.augmentation import compose, inverse, transform_poses
from pose2seg.training.paste import Scene, draw_place, paste

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 60, 80


def a_pose(x: float, y: float, joints: int = 3) -> np.ndarray:
    """Returns a pose with the first joints at one place, and the others missing."""
    pose = np.zeros((17, 3), np.float32)
    pose[:joints] = x, y, 2
    return pose


def a_scene() -> Scene:
    """Returns a scene with a person in the left half, and one in the right half."""
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    masks[0, :, :40], masks[1, :, 40:] = 1, 1
    image = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Scene(image, masks, np.stack([a_pose(20, 30), a_pose(60, 30)]))


def a_person(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a green person of 20 x 20 pixels, whose upper left pixel is (10, 10)."""
    mask = np.zeros((50, 50), np.uint8)
    mask[10:30, 10:30] = 1
    return np.full((50, 50, 3), (0, 255, 0), np.uint8), mask, pose


def moved_by(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y]])


def test_a_person_is_in_front():
    scene = a_scene()
    pasted = paste(scene, *a_person(a_pose(15, 15)), moved_by(40, 5), np.random.default_rng(0))
    # x 50 .. 69, y 15 .. 34; edges are blurred by a pixel.
    assert (pasted.image[16:34, 51:69] == (0, 255, 0)).all()
    untouched = np.ones((HEIGHT, WIDTH), bool)
    untouched[14:36, 49:71] = False
    assert (pasted.image[untouched] == scene.image[untouched]).all()
    assert np.array_equal(pasted.masks.sum(0), np.ones((HEIGHT, WIDTH)))  # the masks do not overlap
    assert pasted.masks[2, 15:35, 50:70].sum() == pasted.masks[2].sum() > 350
    assert np.array_equal(pasted.keypoints[2], a_pose(55, 20))
    assert np.array_equal(pasted.keypoints[0], scene.keypoints[0])


def test_covered_joints_are_occluded_or_lost():
    labels = set()
    for seed in range(20):
        pasted = paste(a_scene(), *a_person(a_pose(15, 15)), moved_by(40, 10), np.random.default_rng(seed))
        if len(pasted.keypoints) == 2:  # the person on the right lost all joints
            continue
        right = pasted.keypoints[1]
        assert (right[right[:, 2] == 0] == 0).all()
        labels |= set(right[:3, 2])
    assert labels == {0, 1}


def test_people_who_are_nearly_covered_are_removed():
    scene = a_scene()
    scene.masks[1] = 0
    scene.masks[1, 15:35, 50:70] = 1
    scene.keypoints[1, :3] = 5, 5, 2
    pasted = paste(scene, *a_person(a_pose(15, 15)), moved_by(40, 5), np.random.default_rng(0))
    assert len(pasted.masks) == len(pasted.keypoints) == 2
    assert np.array_equal(pasted.keypoints[1], a_pose(55, 20))


@pytest.mark.parametrize(
    ("pose", "matrix"),
    [
        (a_pose(15, 15), moved_by(66, 5)),  # 4 columns are left
        (a_pose(11, 15), moved_by(-15, 5)),  # no joint is left
        (a_pose(15, 15), np.array([[0.4, 0, 5], [0, 0.4, 5]])),  # 8 x 8 pixels
    ],
    ids=["outside", "no joint", "tiny"],
)
def test_people_who_would_not_be_visible_are_not_pasted(pose, matrix):
    scene = a_scene()
    assert paste(scene, *a_person(pose), matrix, np.random.default_rng(0)) is scene


def test_a_mirrored_person_has_left_and_right_swapped():
    pose = np.zeros((17, 3), np.float32)
    pose[5] = 12, 15, 2  # left shoulder
    mirror = np.array([[-1.0, 0, 70], [0, 1, 5]])
    pasted = paste(a_scene(), *a_person(pose), mirror, np.random.default_rng(0))
    assert pasted.keypoints[2, 6].tolist() == [58, 20, 2]
    assert pasted.keypoints[2, 5].tolist() == [0, 0, 0]
    assert pasted.masks[2, 20, 58] == 1


def test_people_are_placed_in_the_input_in_every_size():
    box = (30.0, 40.0, 60.0, 120.0)
    corners = np.array([[30.0, 40, 2], [90, 40, 2], [30, 160, 2], [90, 160, 2]], np.float32)
    rng = np.random.default_rng(0)
    sizes, mirrored = [], 0
    for _ in range(300):
        matrix = draw_place(rng, box, np.stack([a_pose(100, 50)]), 20.0, 320)
        moved = corners[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        assert moved.min() > -1
        assert moved.max() < 321
        sizes.append(120 * abs(np.linalg.det(matrix[:, :2])) ** 0.5)
        mirrored += np.linalg.det(matrix[:, :2]) < 0
    assert 50 <= min(sizes) < 60
    assert 230 < max(sizes) <= 240  # twice its size
    assert 100 < mirrored < 200


def test_inverse():
    matrix = np.array([[0.4, -0.7, 30.0], [0.6, 0.5, -8.0]])
    np.testing.assert_allclose(compose(inverse(matrix), matrix), np.eye(2, 3), atol=1e-12)
    pose = a_pose(3, 4)[None]
    back = transform_poses(transform_poses(pose, matrix), inverse(matrix))
    np.testing.assert_allclose(back[0, :3], pose[0, :3], atol=1e-5)
