"""Reading and writing pose templates."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pose2seg.common.errors import InputError
from pose2seg.common.files import atomic_writer
from pose2seg.common.records import finite_number, read_json
from pose2seg_ops import COCO_KEYPOINTS, COCO_LIMBS

#: The templates of this package, which `pose2seg templates` makes from the people of COCO 2017 with any seed.
#: On average they are 0.7 % of a box away from the official ones, which official weights need.
DEFAULT_TEMPLATES = Path(__file__).with_name("templates.json")

_MINIMUM_VISIBILITY = 0.4
_FEWEST_JOINTS = 3  # joints that a template must share with a pose in `pose2seg_ops.fit_pose_templates`


def load_templates(path: Path | str = DEFAULT_TEMPLATES) -> Tensor:
    """Reads pose templates from a JSON file in the format of the original Pose2Seg.

    path: by default the file of this package, for new training.

    The file's "templates" are cluster means of poses in the unit square. Each has 51 numbers: x, y and mean
    visibility of the 17 COCO joints, where a visible joint counts 2 and an occluded one 1. Joints with a mean
    visibility below 0.4 are dropped: their three numbers become 0. Each template is repeated with left and
    right joints swapped, for people seen from behind.

    Returns (2 k, 17, 3) float32: the k templates of the file, followed by the k swapped ones.
    Raises InputError for a malformed file, and OSError if it cannot be read.
    """
    path = Path(path)
    content = read_json(path)
    rows = content.get("templates") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError(f'{path}: expected an object with a list "templates"')
    joints = len(COCO_KEYPOINTS)
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 3 * joints:
            raise InputError(
                f"{path}: templates[{i}] must be {3 * joints} numbers (x, y, visibility of {joints} joints)"
            )
    numbers = [finite_number(x, f"{path}: templates[{i}]") for i, row in enumerate(rows) for x in row]
    means = np.array(numbers, np.float32).reshape(-1, joints, 3)
    templates = torch.from_numpy(without_rare_joints(means))
    require_joints(templates, path)
    return torch.cat([templates, templates[:, MIRRORED]])


def require_joints(templates: Tensor, path: Path) -> None:
    """Raises InputError if none of the templates (T, 17, 3) has enough joints to fit a pose."""
    most = max((templates[:, :, 2] > 0).sum(1).tolist(), default=0)
    if most < _FEWEST_JOINTS:
        raise InputError(
            f"{path}: one of the templates must have at least {_FEWEST_JOINTS} joints to fit a pose, "
            f"got {len(templates)} templates with at most {most}"
        )


def save_templates(means: npt.NDArray[Any], path: Path, *, minimum_joints: int) -> None:
    """Writes cluster means, (k, 17, 3), as a JSON file in the format of the original Pose2Seg.

    minimum_joints: the fewest labelled joints of the clustered poses, stored in the file.

    The file is written atomically. Raises InputError if the path is a folder, and OSError if the file cannot
    be written.
    """
    content = {
        "names": COCO_KEYPOINTS,
        "connections": [[a + 1, b + 1] for a, b in COCO_LIMBS],  # counted from 1, as in COCO
        "flip_map": {joint: _mirrored(joint) for joint in COCO_KEYPOINTS if joint.startswith("left_")},
        "vis_threshold": _MINIMUM_VISIBILITY,
        "minpoints": minimum_joints,
        "templates": means.reshape(len(means), -1).round(6).tolist(),
    }
    with atomic_writer(path) as file:
        file.write(json.dumps(content).encode() + b"\n")


def without_rare_joints(means: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns cluster means (k, 17, 3) in which joints with a mean visibility below 0.4 are 0."""
    return np.where(means[:, :, 2:] < _MINIMUM_VISIBILITY, np.zeros_like(means), means)


def _mirrored(joint: str) -> str:
    if joint.startswith("left_"):
        return joint.replace("left_", "right_")
    return joint.replace("right_", "left_")


#: For each COCO joint, the index of the one on the other side of the body.
MIRRORED = [COCO_KEYPOINTS.index(_mirrored(joint)) for joint in COCO_KEYPOINTS]
