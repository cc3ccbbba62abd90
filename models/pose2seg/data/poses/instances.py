"""The JSON files of MMPose and of Ultralytics' `to_json`: a record for each person in one image."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from pose2seg.common.choices import JOINT_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.common.records import Record, finite_number, read_json, records
from pose2seg.common.text import shown
from pose2seg.data.poses.confidence_folder import open_confidence_folder
from pose2seg.data.poses.joints import (
    LAYOUTS_THAT_BEGIN_AS_COCO,
    Joints,
    from_confidences,
    mean_confidence,
)
from pose2seg.data.poses.people import Person, PoseFolder
from pose2seg_ops import COCO_KEYPOINTS

#: The names of the file of an image; the second is that of MMPose's demos.
PATTERNS = ("{}.json", "results_{}.json")


class Instance(NamedTuple):
    """A person before the threshold is applied.

    joints: (17, 3) x, y in pixels, and confidence.
    score: the score of the person, or None if the file has none.
    track: the number of the person's track, or None.
    """

    joints: Joints
    score: float | None
    track: int | None

    def person(self, joint_threshold: float) -> Person | None:
        """Returns the person, or None if no joint has a confidence of at least `joint_threshold`."""
        pose = from_confidences(self.joints, joint_threshold)
        if not pose[:, 2].any():
            return None
        score = mean_confidence(self.joints, pose) if self.score is None else self.score
        return Person(pose, score, track_id=self.track)


def open_folder(folder: Path, files: Sequence[Path], joint_threshold: float | None) -> PoseFolder:
    """Opens a folder with a file for each image (see `read_people`).

    joint_threshold: the lowest confidence of a joint that is used, by default `JOINT_THRESHOLD`.
    """
    return open_confidence_folder(folder, files, PATTERNS, joint_threshold, read_people, _highest_in)


def read_people(path: Path, joint_threshold: float = JOINT_THRESHOLD) -> list[Person]:
    """Reads the people in the file of one image: a list of records, or MMPose's object with "instance_info".

    A record is from MMPose 1.x ("keypoints" [[x, y], ...] and "keypoint_scores"), from MMPose 0.x
    ("keypoints" [[x, y, confidence], ...]) or from Ultralytics ("keypoints" {"x": [...], "y": [...],
    "visible": [...]}). A joint with a confidence of at least `joint_threshold` is visible; others are
    missing. A person's score is that of the box or, if there is none, the mean confidence of the visible
    joints.

    Raises InputError, which names the record, if the file is malformed, and OSError if it cannot be read.
    """
    people = (instance.person(joint_threshold) for instance in _instances(path))
    return [person for person in people if person is not None]


def is_instance(record: Any) -> bool:
    """Returns whether a JSON value looks like one of these records, rather than like a COCO result."""
    if not isinstance(record, dict) or "image_id" in record:
        return False
    return "keypoint_scores" in record or isinstance(record.get("keypoints"), dict)


def read_instance(record: Record) -> Instance:
    """Reads a record. Raises InputError if it is malformed."""
    listed = _listed(record)
    if len(listed) not in LAYOUTS_THAT_BEGIN_AS_COCO:
        counts = ", ".join(map(str, LAYOUTS_THAT_BEGIN_AS_COCO))
        raise InputError(
            f'{record.where}: "keypoints" must be COCO\'s {len(COCO_KEYPOINTS)} joints, alone or before '
            f"others ({counts}), got {len(listed)}"
        )
    joints = Record({"keypoints": listed}, record.where).joints("keypoints", len(listed))
    track = record.content.get("track_id")
    return Instance(joints[: len(COCO_KEYPOINTS)], _score(record), track if type(track) is int else None)


def _listed(record: Record) -> list[Any]:
    """Returns x, y and confidence of each joint."""
    if isinstance(record.content.get("keypoints"), dict):
        columns = Record(record.content["keypoints"], f"{record.where}: keypoints")
        x, y = columns.get("x", list), columns.get("y", list)
        visible = columns.get("visible", list, NoneType)  # some models have no confidences
        return _joined(record, zip(x, y, strict=False), x, y, [1] * len(x) if visible is None else visible)
    listed: list[Any] = record.get("keypoints", list)
    confidences = record.get("keypoint_scores", list, NoneType)
    if confidences is None:
        return listed
    if not all(isinstance(position, list) and len(position) == 2 for position in listed):
        raise InputError(
            f'{record.where}: "keypoints" beside "keypoint_scores" must be lists of 2, got {shown(listed)}'
        )
    return _joined(record, listed, listed, confidences)


def _joined(record: Record, positions: Any, *columns: list[Any]) -> list[Any]:
    """Joins positions and the last column. Raises InputError if the columns differ in length."""
    if len({len(column) for column in columns}) > 1:
        counts = " and ".join(str(len(column)) for column in columns)
        raise InputError(f'{record.where}: "keypoints" must be lists of equal length, got {counts}')
    return [[*position, third] for position, third in zip(positions, columns[-1], strict=True)]


def _score(record: Record) -> float | None:
    """Returns the score of the box: a separate member or, in MMPose 0.x, the last number of the box."""
    for name in ("bbox_score", "confidence", "score"):
        if record.content.get(name) is not None:
            return finite_number(record.content[name], f'{record.where}: "{name}"')
    match record.content.get("bbox"):
        case [_, _, _, _, score]:
            return finite_number(score, f'{record.where}: the score in "bbox"')
    return None


def _instances(path: Path) -> Iterator[Instance]:
    content = read_json(path)
    if isinstance(content, dict):
        content = Record(content, str(path)).get("instance_info", list)
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a list of people, got {type(content).__name__}")
    return map(read_instance, records(content, str(path)))


def _highest_in(path: Path) -> float:
    """Returns the highest confidence in a file."""
    return max((float(instance.joints[:, 2].max()) for instance in _instances(path)), default=0.0)
