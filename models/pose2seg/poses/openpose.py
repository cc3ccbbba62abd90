"""The JSON files that OpenPose writes with --write_json, one for each image."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose2seg.errors import InputError
from pose2seg.files import read_json, shown
from pose2seg.poses.people import Person
from pose2seg.records import Record
from pose2seg_ops import COCO_KEYPOINTS

#: What follows the image's name in the name of its file; the second is AlphaPose's, in the same format.
ENDINGS = ("_keypoints.json", ".json")

_TRUNK_AND_RIGHT_ARM = ("nose", "neck", "right_shoulder", "right_elbow", "right_wrist")
_LEFT_ARM = ("left_shoulder", "left_elbow", "left_wrist")
_LEGS = ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle")
_FACE = ("right_eye", "left_eye", "right_ear", "left_ear")
_FEET = ("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")

#: The joints of OpenPose's two models, in their order (its documentation, "Keypoint Ordering").
COCO_18 = (*_TRUNK_AND_RIGHT_ARM, *_LEFT_ARM, *_LEGS, *_FACE)
BODY_25 = (*_TRUNK_AND_RIGHT_ARM, *_LEFT_ARM, "mid_hip", *_LEGS, *_FACE, *_FEET)


def read_people(path: Path, image: Path) -> list[Person]:
    """The people in OpenPose's file for an image, of the model BODY_25 or COCO.

    Positions are in pixels of the image (--keypoint_scale 0, the default). A joint with a confidence above 0
    is visible, the others are missing; a person's score is the mean confidence of the visible joints.

    Raises InputError that names the record for a file of another form, OSError for one that cannot be read.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f'{path}: expected an object with a list "people", got {type(content).__name__}')
    found = map(_read_joints, Record(content, str(path)).list_of_records("people"))
    return [_person(joints) for joints in found if (joints[:, 2] > 0).any()]


def _read_joints(record: Record) -> npt.NDArray[np.float32]:
    """(17, 3): x, y and confidence of the COCO joints."""
    numbers = record.get("pose_keypoints_2d", list)
    layout = next((names for names in (BODY_25, COCO_18) if len(numbers) == 3 * len(names)), None)
    if layout is None:
        raise InputError(
            f'{record.where}: "pose_keypoints_2d" must be {3 * len(BODY_25)} numbers (BODY_25) or '
            f"{3 * len(COCO_18)} (COCO), got {len(numbers)}: {shown(numbers)}"
        )
    joints = record.joints("pose_keypoints_2d", len(layout))
    return joints[[layout.index(joint) for joint in COCO_KEYPOINTS]]


def _person(joints: npt.NDArray[np.float32]) -> Person:
    visible = joints[:, 2] > 0
    keypoints = np.where(visible[:, None], joints, 0)
    keypoints[:, 2] = np.where(visible, 2, 0)
    return Person(keypoints, float(joints[visible, 2].mean(dtype=np.float64)))  # float32 sums may overflow
