"""Reading pose templates."""

from pathlib import Path

import torch
from torch import Tensor

from pose2seg.errors import InputError
from pose2seg.files import finite_number, read_json
from pose2seg_ops import COCO_KEYPOINTS

_MINIMUM_VISIBILITY = 0.4


def load_templates(path: Path | str) -> Tensor:
    """The templates of a JSON file in the original Pose2Seg's format, ready for `Pose2Seg`.

    The file's "templates" are cluster means of poses in the unit square: 51 numbers each, x, y and mean
    visibility of the 17 COCO joints, where a visible joint counts 2 and an occluded one 1. Joints with a mean
    visibility below 0.4 are dropped: their three numbers become 0. Each template follows once more with
    left and right joints swapped, for people seen from behind.

    Returns (2 k, 17, 3) float32 for k templates t and their swapped ones f: t0 ... t(k-1) f0 ... f(k-1).
    Raises InputError for a file of another form, OSError for one that cannot be read.
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
    templates = torch.tensor(numbers, dtype=torch.float32).reshape(-1, joints, 3)
    templates[templates[:, :, 2] < _MINIMUM_VISIBILITY] = 0
    return torch.cat([templates, templates[:, MIRRORED]])


def _mirrored(joint: str) -> str:
    if joint.startswith("left_"):
        return joint.replace("left_", "right_")
    return joint.replace("right_", "left_")


#: For each COCO joint, the one on the other side of the body.
MIRRORED = [COCO_KEYPOINTS.index(_mirrored(joint)) for joint in COCO_KEYPOINTS]
