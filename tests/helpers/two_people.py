"""Two people whose poses are written by tools of other projects, and the poses that must be read."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pose2seg.data.poses import ImagePoses, open_poses

SIZE = HEIGHT, WIDTH = 120, 160
Array = npt.NDArray[Any]

#: x, y of the joints of two people, in quarters of pixels, which every file format can represent.
POSITIONS = np.stack(
    [[[20 + 2.25 * i, 30 + 1.5 * i] for i in range(17)], [[90 + i, 10 + 4.0 * i] for i in range(17)]]
)
#: The joints' confidences, on both sides of every threshold used here.
CONFIDENCES = np.stack([np.linspace(0.2, 0.95, 17), np.linspace(0.9, 0.05, 17)])
#: The joints' COCO visibility.
VISIBILITY = np.stack([[0, 1, 2, *[2] * 14], [2, 2, 1, 0, *[1] * 13]])


def expected_of_confidences(threshold: float) -> Array:
    visible = CONFIDENCES[:, :, None] >= threshold
    return np.where(visible, np.dstack([POSITIONS, np.full((2, 17), 2)]), 0)


def expected_of_visibility(visibility: Array = VISIBILITY) -> Array:
    return np.where(visibility[:, :, None] > 0, np.dstack([POSITIONS, visibility]), 0)


def found_in(poses: Path, name: str = "one.png", threshold: float | None = None) -> ImagePoses:
    found = open_poses(poses, threshold).find(poses.parent / name, SIZE)
    assert found is not None
    return found


def require(poses: ImagePoses, expected: Array, atol: float = 1e-4) -> None:
    np.testing.assert_allclose(poses.keypoints, expected, rtol=0, atol=atol)


def write_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((*SIZE, 3), np.uint8))
    return path


def square_masks() -> Array:
    """Returns a mask for each of the people, which contains all joints."""
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 25:60, 15:60] = True
    masks[1, 5:80, 85:110] = True
    return masks
