"""The text files of Ultralytics' YOLO pose models, one for each image: labels or predictions."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pose2seg.common.choices import JOINT_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.common.records import finite_number
from pose2seg.common.remarks import DatasetWarning
from pose2seg.common.text import shown
from pose2seg.data.poses.joints import Joints, are_flags, from_confidences, from_flags, require_scale
from pose2seg.data.poses.people import Person, PoseFolder
from pose2seg_ops import COCO_KEYPOINTS

#: The names of the file of an image.
PATTERNS = ("{}.txt",)

_BOX = 5  # numbers: the class, and the centre, width and height of the box
_JOINTS = len(COCO_KEYPOINTS)
_LENGTHS = {_BOX + dimensions * _JOINTS: dimensions for dimensions in (2, 3)}


class Columns(NamedTuple):
    """The meaning of ambiguous numbers, which is the same in all files of a folder.

    ones_are_visible: whether a visibility of 1 means that the joint is labelled, not that it is occluded.
    last: the meaning of a single number after the joints; None if it is unknown.
    """

    ones_are_visible: bool = False
    last: Literal["score", "track"] | None = None


_PLAIN = Columns()


class _Line(NamedTuple):
    """The numbers of a person.

    joints: (17, 2 or 3) x, y and, in some files, a third number of each joint.
    behind: the numbers after the joints.
    """

    where: str
    joints: npt.NDArray[np.float64]
    behind: list[float]


def open_folder(folder: Path, files: Sequence[Path], joint_threshold: float | None) -> PoseFolder:
    """Opens a folder of YOLO's files (see `read_people`).

    joint_threshold: the lowest confidence of a joint that is used, by default `JOINT_THRESHOLD`.
    """
    threshold = JOINT_THRESHOLD if joint_threshold is None else joint_threshold
    columns, confidences = _find_columns(files)
    require_scale(folder, confidences, joint_threshold, threshold)
    if columns.ones_are_visible:
        warnings.warn(
            f"{folder}: no joint has visibility 2; 1 is read as visible, not as occluded",
            DatasetWarning,
            stacklevel=3,
        )

    def read(path: Path, size: tuple[int, int]) -> list[Person]:
        return read_people(path, size, threshold, columns)

    return PoseFolder(folder, PATTERNS, read, threshold)


def read_people(
    path: Path, size: tuple[int, int], joint_threshold: float = JOINT_THRESHOLD, columns: Columns = _PLAIN
) -> list[Person]:
    """Reads the people in the file of an image of size (height, width). There is a line for each person:

    class x y width height, then x y or x y visibility of each of the 17 COCO joints, then, depending on the
    options of the writer, a score, the number of a track, or both in this order.

    Positions are relative to the image's width and height. If all visibilities in the file are 0, 1 or 2,
    they are COCO's; otherwise they are confidences, and a joint is visible if its confidence is at least
    `joint_threshold`. A joint at (0, 0) or NaN, or with visibility 0, is missing. If the file has
    no score, it is 1. Identical lines count as one person, because the writer appends to existing files and
    repeats lines.

    Raises InputError, which names the line, if the file is malformed, and OSError if it cannot be read.
    """
    lines = list(_read_lines(path))
    if not lines:
        return []
    thirds = np.concatenate([line.joints[:, 2:].ravel() for line in lines])
    height, width = size
    people = []
    for line in lines:
        score, track = _read_behind(line, columns)
        joints = _in_pixels(line, width, height)
        if are_flags(thirds):
            keypoints = from_flags(joints, ones_are_visible=columns.ones_are_visible)
        else:
            keypoints = from_confidences(joints, joint_threshold)
        people.append(Person(keypoints, score, track_id=track))
    return [person for person in people if person.keypoints[:, 2].any()]


def _read_lines(path: Path) -> Iterator[_Line]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text: byte {error.start} is not UTF-8") from error
    seen = {""}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line not in seen:
            seen.add(line)
            yield _read_line(line, f"{path}:{number}")


def _read_line(line: str, where: str) -> _Line:
    numbers = [_number(word, where) for word in line.split()]
    for end, dimensions in _LENGTHS.items():
        if end <= len(numbers) <= end + 2:
            joints = np.array(numbers[_BOX:end]).reshape(_JOINTS, dimensions)
            joints[np.isnan(joints[:, :2]).any(axis=1)] = 0
            for number in (*numbers[:_BOX], *joints.ravel().tolist(), *numbers[end:]):
                finite_number(number, f"{where}:")
            return _Line(where, joints, numbers[end:])
    raise InputError(
        f"{where}: expected a class, a box and {_JOINTS} joints of 2 or 3 numbers, then a score, a track, "
        f"both or nothing: {' or '.join(map(str, _LENGTHS))} numbers and up to 2 more, got {len(numbers)}"
    )


def _in_pixels(line: _Line, width: int, height: int) -> Joints:
    """Returns joints (17, 3) in pixels; in a file without visibility, all joints have 2."""
    thirds = line.joints[:, 2] if line.joints.shape[1] == 3 else np.full(_JOINTS, 2.0)
    joints = np.column_stack([line.joints[:, :2] * (width, height), thirds])
    finite_number(float(np.abs(joints).max()), f"{line.where}: positions in pixels")
    return joints.astype(np.float32)


def _read_behind(line: _Line, columns: Columns) -> tuple[float, int | None]:
    """Returns the score and the track of a person."""
    match line.behind:
        case []:
            return 1.0, None
        case [score, track]:
            return _score(score, line.where), _track(track, line.where)
        case [last] if columns.last == "score":
            return _score(last, line.where), None
        case [last] if columns.last == "track":
            return 1.0, _track(last, line.where)
    raise InputError(
        f"{line.where}: the number after the joints may be a score or a track, because it is 0 or 1 in every "
        "line of the folder: remove it, or let YOLO write both (save_conf=True)"
    )


def _score(number: float, where: str) -> float:
    if not 0 <= number <= 1:
        raise InputError(f"{where}: the score after the joints must be from 0 to 1, got {number:g}")
    return number


def _track(number: float, where: str) -> int:
    if not (number >= 0 and number.is_integer()):
        raise InputError(f"{where}: the track after the joints must be an integer from 0, got {number:g}")
    return int(number)


def _find_columns(files: Sequence[Path]) -> tuple[Columns, list[float]]:
    """Returns the columns, which are determined from all files, and the highest confidence of each file.

    A single file may have no person whose numbers are unambiguous.
    """
    ones, others = False, False
    confidences: list[float] = []
    last: Literal["score", "track"] | None = None
    for path in files:
        with contextlib.suppress(InputError, OSError):  # reported when the file is read for its image
            lines = list(_read_lines(path))
            of_file = [third for line in lines for third in line.joints[:, 2:].ravel().tolist()]
            if not are_flags(np.array(of_file)):
                confidences.append(max(of_file))
            for line in lines:
                thirds = line.joints[:, 2:]
                ones = ones or bool((thirds == 1).any())
                others = others or not np.isin(thirds, (0, 1)).all()  # a 2, or a confidence
                if last is None and len(line.behind) == 1 and line.behind[0] not in (0, 1):
                    last = "track" if line.behind[0].is_integer() else "score"
    return Columns(ones and not others, last), confidences


def _number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InputError(f"{where}: must be numbers, got {shown(word)}") from None
