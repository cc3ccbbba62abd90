"""The JSON files of OpenPose's --write_json, one for each image."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose2seg.common.choices import OPENPOSE_JOINT_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.common.records import Record, read_json
from pose2seg.common.remarks import DatasetWarning
from pose2seg.common.text import shown
from pose2seg.data.poses.joints import Joints, from_confidences, mean_confidence, require_scale
from pose2seg.data.poses.people import Person, PoseFolder
from pose2seg_ops import COCO_KEYPOINTS

#: The names of the file of an image; the second is AlphaPose's, in the same format.
PATTERNS = ("{}_keypoints.json", "{}.json")

_TRUNK_AND_RIGHT_ARM = ("nose", "neck", "right_shoulder", "right_elbow", "right_wrist")
_LEFT_ARM = ("left_shoulder", "left_elbow", "left_wrist")
_LEGS = ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle")
_FACE = ("right_eye", "left_eye", "right_ear", "left_ear")
_FEET = ("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")

#: The joints of OpenPose's models, in their order (its documentation, "Keypoint Ordering", and its
#: poseParameters.cpp for the experimental BODY_25B).
COCO_18 = (*_TRUNK_AND_RIGHT_ARM, *_LEFT_ARM, *_LEGS, *_FACE)
BODY_25 = (*_TRUNK_AND_RIGHT_ARM, *_LEFT_ARM, "mid_hip", *_LEGS, *_FACE, *_FEET)
BODY_25B = (*COCO_KEYPOINTS, "upper_neck", "head_top", *_FEET)


def open_folder(folder: Path, files: Sequence[Path], joint_threshold: float | None) -> PoseFolder:
    """Opens a folder of OpenPose's files (see `read_people`).

    joint_threshold: the lowest confidence of a joint that is used, by default `OPENPOSE_JOINT_THRESHOLD`.

    The files do not say whether they are BODY_25 or BODY_25B; the positions of the joints are used to decide.
    """
    threshold = OPENPOSE_JOINT_THRESHOLD if joint_threshold is None else joint_threshold
    first = list(_people_of(files[:_FILES]))
    require_scale(folder, [float(joints[:, 2].max()) for joints in first], joint_threshold, threshold)
    layout_of_25 = _find_layout_of_25(first)
    if layout_of_25 is BODY_25B:
        warnings.warn(
            f"{folder}: is read as OpenPose's BODY_25B, because the joint that is the neck in BODY_25 is not "
            "between the shoulders",
            DatasetWarning,
            stacklevel=3,
        )

    def read(path: Path, _: tuple[int, int]) -> list[Person]:
        return read_people(path, threshold, layout_of_25)

    return PoseFolder(folder, PATTERNS, read, threshold)


def read_people(
    path: Path, joint_threshold: float = OPENPOSE_JOINT_THRESHOLD, layout_of_25: tuple[str, ...] = BODY_25
) -> list[Person]:
    """Reads the people in OpenPose's file of an image, from the model BODY_25, BODY_25B or COCO.

    Positions are in pixels of the image (--keypoint_scale 0, the default). A joint with a confidence of at
    least `joint_threshold` is visible; others are missing. A person's score is the mean confidence of the
    visible joints. A person with hands or a face, but without a body, is left out.

    layout_of_25: the layout of people with 25 joints, `BODY_25` or `BODY_25B`.

    Raises InputError, which names the record, if the file is malformed, and OSError if it cannot be read.
    """
    people = (_read_person(record, joint_threshold, layout_of_25) for record in _records(path))
    return [person for person in people if person is not None]


def _records(path: Path) -> Iterator[Record]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f'{path}: expected an object with a list "people", got {type(content).__name__}')
    return Record(content, str(path)).list_of_records("people")


def _read_person(record: Record, threshold: float, layout_of_25: tuple[str, ...]) -> Person | None:
    numbers = _read_numbers(record)
    if numbers is None:
        return None
    layout = layout_of_25 if len(numbers) == len(BODY_25) else COCO_18
    joints = numbers[[layout.index(joint) for joint in COCO_KEYPOINTS]]
    keypoints = from_confidences(joints, threshold)
    if not keypoints[:, 2].any():
        return None
    return Person(keypoints, mean_confidence(joints, keypoints), track_id=_read_track(record))


def _read_numbers(record: Record) -> Joints | None:
    """Returns x, y and confidence of a person's joints, (18 or 25, 3), or None if there is no body."""
    # The second name is that of version 1.0, whose layout is COCO_18.
    name = next((each for each in ("pose_keypoints_2d", "pose_keypoints") if each in record.content), None)
    if name is None:
        raise InputError(f'{record.where}: expected a person of OpenPose, with "pose_keypoints_2d"')
    numbers = record.content[name]
    if numbers is None or numbers == []:
        return None
    count = len(record.get(name, list))
    if count not in (3 * len(BODY_25), 3 * len(COCO_18)):
        raise InputError(
            f'{record.where}: "{name}" must be {3 * len(BODY_25)} numbers (BODY_25) or '
            f"{3 * len(COCO_18)} (COCO), got {count}: {shown(numbers)}"
        )
    return record.joints(name, count // 3)


def _read_track(record: Record) -> int | None:
    """Returns the person's number in OpenPose's tracking, or None if it is -1, without tracking."""
    match record.content.get("person_id"):
        case [int(track)] if track >= 0:
            return track
    return None


def _find_layout_of_25(people: Sequence[Joints]) -> tuple[str, ...]:
    """Returns `BODY_25` or `BODY_25B`, whichever fits most people with 25 joints."""
    of_25 = (joints for joints in people if len(joints) == len(BODY_25))
    offsets = [offset for joints in of_25 for offset in _off_middle(joints)]
    return BODY_25B if offsets and np.median(offsets) > _FAR else BODY_25


_FILES = 100

#: The neck and the hip of BODY_25 are trained to be midway between two joints. If they are off by 10 % of the
#: distance between these two, 5 % of COCO's people exceed this limit; of people in BODY_25B, 95 % do.
_FAR = 0.25


def _people_of(files: Sequence[Path]) -> Iterator[Joints]:
    for path in files:
        with contextlib.suppress(InputError, OSError):  # reported when the file is read for its image
            people = [_read_numbers(record) for record in _records(path)]
            yield from (joints for joints in people if joints is not None)


def _off_middle(joints: npt.NDArray[np.float32]) -> Iterator[float]:
    """Yields how far the neck and the hip of BODY_25 are from the midpoints of the shoulders and of the hips.

    The unit is the distance between the two shoulders or hips.
    """
    joints = joints.astype(np.float64)
    for middle, left, right in (("neck", *_SHOULDERS), ("mid_hip", *_HIPS)):
        three = joints[[BODY_25.index(joint) for joint in (middle, left, right)]]
        distance = np.linalg.norm(three[1, :2] - three[2, :2])
        if (three[:, 2] > 0).all() and distance > 0:
            yield float(np.linalg.norm(three[0, :2] - three[1:, :2].mean(axis=0)) / distance)


_SHOULDERS, _HIPS = ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")
