"""What the third number of a joint means: a flag of an annotation, or the confidence of a detector."""

from typing import Any

import numpy as np
import numpy.typing as npt

Joints = npt.NDArray[np.float32]

#: The confidence, from 0 to 1, from which a joint is used (`tools/joint_threshold.py`, docs/model_card.md).
JOINT_THRESHOLD = 0.6


def are_flags(thirds: npt.NDArray[Any]) -> bool:
    """Whether third numbers may be COCO's visibility: 0 missing, 1 occluded, 2 visible."""
    return bool(np.isin(thirds, (0, 1, 2)).all())


def from_flags(joints: Joints, *, ones_are_visible: bool = False) -> Joints:
    """A pose from joints (17, 3) with flags, which are as in COCO, or 1 for every joint that is labelled."""
    return _pose(joints, np.where(joints[:, 2] > 0, 2, 0) if ones_are_visible else joints[:, 2])


def from_confidences(joints: Joints, threshold: float) -> Joints:
    """A pose from joints (17, 3) with confidences, where 0 is a missing joint whatever the threshold."""
    return _pose(joints, np.where((joints[:, 2] >= threshold) & (joints[:, 2] > 0), 2, 0))


def _pose(joints: Joints, visibility: npt.NDArray[Any]) -> Joints:
    """Zeros for joints without visibility, and for those at (0, 0), where writers put what they lack."""
    is_there = (visibility > 0) & joints[:, :2].any(axis=1)
    return np.where(is_there[:, None], np.column_stack([joints[:, :2], visibility]), 0).astype(np.float32)
