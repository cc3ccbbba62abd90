"""The text files of Ultralytics' YOLO pose models, one for each image: labels and predictions."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pose2seg.errors import InputError
from pose2seg.files import finite_number, read_image, shown
from pose2seg.poses.joints import JOINT_THRESHOLD, Joints, are_flags, from_confidences, from_flags
from pose2seg.poses.people import Person, PoseFolder
from pose2seg.remarks import DatasetWarning
from pose2seg_ops import COCO_KEYPOINTS

#: What follows the image's name in the name of its file.
ENDINGS = (".txt",)

_BOX = 5  # class, and centre, width and height of the box
_JOINTS = len(COCO_KEYPOINTS)
_LENGTHS = {_BOX + dimensions * _JOINTS: dimensions for dimensions in (2, 3)}


class Columns(NamedTuple):
    """What the files of a folder leave open; all of them have it in common.

    ones_are_visible: whether a visibility of 1 is that of a joint that is labelled, not of an occluded one.
    last: what a single number behind the joints is; None where nothing tells.
    """

    ones_are_visible: bool = False
    last: Literal["score", "track"] | None = None


_PLAIN = Columns()


class _Line(NamedTuple):
    """The numbers of a person; x, y and, in some files, a third number of each joint: (17, 2 or 3)."""

    where: str
    joints: npt.NDArray[np.float64]
    behind: list[float]


def open_folder(folder: Path, files: Sequence[Path], joint_threshold: float | None) -> PoseFolder:
    """The poses in a folder of YOLO's files, see `read_people`.

    joint_threshold: the confidence from which a joint is used; that of `pose2seg.poses.joints` by default.
    """
    threshold = JOINT_THRESHOLD if joint_threshold is None else joint_threshold
    columns = _find_columns(files)
    if columns.ones_are_visible:
        warnings.warn(
            f"{folder}: no joint has visibility 2; 1 is read as visible, not as occluded",
            DatasetWarning,
            stacklevel=3,
        )

    def read(path: Path, image: Path) -> list[Person]:
        return read_people(path, image, threshold, columns)

    return PoseFolder(folder, ENDINGS, read, threshold)


def read_people(
    path: Path, image: Path, joint_threshold: float = JOINT_THRESHOLD, columns: Columns = _PLAIN
) -> list[Person]:
    """The people in the file for an image; a line each:

    class x y width height, then x y or x y visibility of each of the 17 COCO joints, then what the writer was
    asked for: a score, the number of a track, or both in this order.

    Positions are parts of the image's width and height, whose size is read from it. The visibility is
    COCO's where all in the file are 0, 1 or 2; else it is a confidence, and the joint is visible from
    `joint_threshold` on. A joint at (0, 0) or NaN, or of visibility 0, is missing. The score is 1 where there
    is none. Equal lines are one person: the writer appends to files that are there, and so writes some twice.

    Raises InputError that names the line for a file of another form, OSError for one that cannot be read.
    """
    lines = list(_read_lines(path))
    if not lines:
        return []
    thirds = np.concatenate([line.joints[:, 2:].ravel() for line in lines])
    height, width = read_image(image).shape[:2]
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
    """(17, 3); the joints of a file without visibility have 2."""
    thirds = line.joints[:, 2] if line.joints.shape[1] == 3 else np.full(_JOINTS, 2.0)
    joints = np.column_stack([line.joints[:, :2] * (width, height), thirds])
    finite_number(float(np.abs(joints).max()), f"{line.where}: positions in pixels")
    return joints.astype(np.float32)


def _read_behind(line: _Line, columns: Columns) -> tuple[float, int | None]:
    """Score and track."""
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
        f"{line.where}: the number behind the joints may be a score or a track, as every line of the folder "
        "has 0 or 1: remove it, or let YOLO write both (save_conf=True)"
    )


def _score(number: float, where: str) -> float:
    if not 0 <= number <= 1:
        raise InputError(f"{where}: the score behind the joints must be from 0 to 1, got {number:g}")
    return number


def _track(number: float, where: str) -> int:
    if not (number >= 0 and number.is_integer()):
        raise InputError(f"{where}: the track behind the joints must be an integer from 0, got {number:g}")
    return int(number)


def _find_columns(files: Sequence[Path]) -> Columns:
    """By all files, since one image alone may have nobody who tells."""
    ones, others = False, False
    last: Literal["score", "track"] | None = None
    for path in files:
        with contextlib.suppress(InputError, OSError):  # it is told when it is read for its image
            for line in _read_lines(path):
                thirds = line.joints[:, 2:]
                ones = ones or bool((thirds == 1).any())
                others = others or not np.isin(thirds, (0, 1)).all()  # a 2, or a confidence
                if last is None and len(line.behind) == 1 and line.behind[0] not in (0, 1):
                    last = "track" if line.behind[0].is_integer() else "score"
    return Columns(ones and not others, last)


def _number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InputError(f"{where}: must be numbers, got {shown(word)}") from None
