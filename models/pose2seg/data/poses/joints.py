"""The third number of a joint: the flag of an annotation, or the confidence of a detector."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose2seg.common.errors import InputError

Joints = npt.NDArray[np.float32]

#: The numbers of joints of layouts whose first 17 joints are COCO's: COCO, Halpe's body, COCO-WholeBody, and
#: Halpe with face and hands.
LAYOUTS_THAT_BEGIN_AS_COCO = (17, 26, 133, 136)


def are_flags(thirds: npt.NDArray[Any]) -> bool:
    """Returns whether third numbers can be COCO's visibility: 0 missing, 1 occluded, 2 visible."""
    return bool(np.isin(thirds, (0, 1, 2)).all())


def from_flags(joints: Joints, *, ones_are_visible: bool = False) -> Joints:
    """Returns a pose from joints (17, 3) with flags: those of COCO, or 1 for every labelled joint."""
    return _pose(joints, np.where(joints[:, 2] > 0, 2, 0) if ones_are_visible else joints[:, 2])


def from_confidences(joints: Joints, threshold: float) -> Joints:
    """Returns a pose from joints (17, 3) with confidences; 0 is a missing joint, whatever the threshold."""
    return _pose(joints, np.where((joints[:, 2] >= threshold) & (joints[:, 2] > 0), 2, 0))


def mean_confidence(joints: Joints, pose: Joints) -> float:
    """Returns the score of a person whose estimator gives none: the mean confidence of the visible joints.

    joints: (17, 3) with confidences.
    pose: the result of `from_confidences` for these joints, with at least one visible joint.
    """
    return float(joints[pose[:, 2] > 0, 2].mean(dtype=np.float64))  # float32 sums may overflow


def require_scale(
    source: Path, confidences: Collection[float], given: float | None, threshold: float
) -> None:
    """Raises InputError if the confidences of a file or folder do not have the scale of the threshold.

    given: the threshold of the user, who knows the scale, or None.
    threshold: the threshold to use: `given` or the default of the format.
    """
    highest = max(confidences, default=0)
    if 0 < highest < threshold:
        problem = f"a joint must have a confidence of at least {threshold:g}, the highest is {highest:g}"
    elif given is None and highest > _HIGHEST:
        problem = f"confidences must be from 0 to 1, the highest is {highest:g}"
    else:
        return
    raise InputError(f"{source}: {problem}: if the confidences have another scale, set --joint-threshold")


# Confidences that are peaks of heatmaps may be slightly above 1; logits and percentages are higher.
_HIGHEST = 2


def _pose(joints: Joints, visibility: npt.NDArray[Any]) -> Joints:
    """Returns a pose with zeros for missing joints: those without visibility and those at (0, 0)."""
    is_there = (visibility > 0) & joints[:, :2].any(axis=1)
    return np.where(is_there[:, None], np.column_stack([joints[:, :2], visibility]), 0).astype(np.float32)
