"""Tests of poses that are changed to resemble those of a detector."""

import numpy as np
import pytest
from pose2seg.training.detected import as_detected

RNG = np.random.default_rng(0)
COUNT = 2000


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, np.ndarray]:
    """Returns people with masks of 10 x 40 pixels and ten visible, five occluded and two missing joints."""
    masks = np.zeros((COUNT, 60, 40), np.uint8)
    masks[:, 10:50, 20:30] = 1
    poses = np.zeros((COUNT, 17, 3), np.float32)
    poses[:, :15, :2] = RNG.uniform((20, 10), (30, 50), (COUNT, 15, 2))
    poses[:, :10, 2], poses[:, 10:15, 2] = 2, 1
    return poses, masks


def test_none_or_a_share_of_the_poses_is_changed(people: tuple[np.ndarray, np.ndarray]) -> None:
    poses, masks = people
    assert np.array_equal(as_detected(poses, masks, 0.0, np.random.default_rng(0)), poses)
    detected = as_detected(poses, masks, 0.4, np.random.default_rng(0))
    changed = (detected != poses).any((1, 2)).mean()
    assert changed == pytest.approx(0.4, abs=0.04)


def test_joints_are_moved_removed_and_made_up(people: tuple[np.ndarray, np.ndarray]) -> None:
    poses, masks = people
    detected = as_detected(poses, masks, 1.0, np.random.default_rng(0))
    there = detected[:, :, 2] > 0
    assert not detected[~there].any()
    assert there.any(1).all()
    moved = (detected - poses)[:, :10, :2][there[:, :10]]
    close = moved[(np.abs(moved) < 4).all(1)]
    assert 0.3 < close.std() < 1.2  # the errors are 0 to 0.06 of the root of the area, 20
    assert (~there[:, :10]).mean() == pytest.approx(0.175, abs=0.02)
    made_up = there[:, 15:].any(1)
    assert made_up.mean() == pytest.approx(0.2 * 2 / 17, abs=0.015)
    places = detected[:, 15:, :2][there[:, 15:]]
    assert (places >= (20, 10)).all()
    assert (places <= (29, 49)).all()


def test_occluded_joints_lose_their_flags(people: tuple[np.ndarray, np.ndarray]) -> None:
    poses, masks = people
    flags = as_detected(poses, masks, 1.0, np.random.default_rng(0))[:, 10:15, 2]
    kept, visible = (flags == 1).any(1).mean(), ((flags == 2).sum(1) > 1).mean()
    assert kept == pytest.approx(0.3, abs=0.04)
    assert visible == pytest.approx(0.35, abs=0.04)
