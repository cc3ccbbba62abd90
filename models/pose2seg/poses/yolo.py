"""The text files of Ultralytics' YOLO pose models, one for each image: labels and predictions."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose2seg.errors import InputError
from pose2seg.files import finite_number, read_image, shown
from pose2seg.poses.people import Person
from pose2seg_ops import COCO_KEYPOINTS

#: What follows the image's name in the name of its file.
ENDINGS = (".txt",)

_BOX = 5  # class, and centre, width and height of the box
_JOINTS = len(COCO_KEYPOINTS)


def read_people(path: Path, image: Path) -> list[Person]:
    """The people in the file for an image; a line each:

    class x y width height, then x y or x y visibility of each of the 17 COCO joints, then a score or nothing.

    Positions are parts of the image's width and height, whose size is read from it. The visibility is
    COCO's where all of a person's are 0, 1 or 2; else it is a confidence, and the joint is visible. A joint
    at (0, 0) or of visibility 0 is missing. The score is 1 where there is none.

    Raises InputError that names the line for a file of another form, OSError for one that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text: byte {error.start} is not UTF-8") from error
    if not any(lines):
        return []
    height, width = read_image(image).shape[:2]
    scale = np.array([width, height, 1], np.float32)
    people = [
        _read_person(line, f"{path}:{i}", scale) for i, line in enumerate(lines, start=1) if line.strip()
    ]
    return [person for person in people if person.keypoints[:, 2].any()]


def _read_person(line: str, where: str, scale: npt.NDArray[np.float32]) -> Person:
    numbers = [_number(word, where) for word in line.split()]
    for dimensions in (2, 3):
        joints = numbers[_BOX : _BOX + dimensions * _JOINTS]
        scores = numbers[_BOX + dimensions * _JOINTS :]
        if len(joints) == dimensions * _JOINTS and len(scores) <= 1:
            keypoints = _keypoints(np.array(joints, np.float32).reshape(_JOINTS, dimensions))
            with np.errstate(over="ignore"):
                keypoints *= scale
            if not np.isfinite(keypoints).all():
                raise InputError(f"{where}: positions must be finite in pixels, in float32")
            return Person(keypoints, score=scores[0] if scores else 1.0)
    raise InputError(
        f"{where}: expected a class, a box and {_JOINTS} joints of 2 or 3 numbers, then a score or nothing: "
        f"{_BOX + 2 * _JOINTS} or {_BOX + 3 * _JOINTS} numbers and a score, got {len(numbers)}"
    )


def _keypoints(joints: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(17, 3) x, y as they are, and COCO visibility, of joints (17, 2 or 3)."""
    visibility = joints[:, 2] if joints.shape[1] == 3 else np.full(_JOINTS, 2, np.float32)
    if not np.isin(visibility, (0, 1, 2)).all():
        visibility = np.where(visibility > 0, 2, 0)
    labelled = (visibility > 0) & joints[:, :2].any(axis=1)
    return np.where(labelled[:, None], np.column_stack([joints[:, :2], visibility]), 0).astype(np.float32)


def _number(word: str, where: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise InputError(f"{where}: must be numbers, got {shown(word)}") from None
    return finite_number(number, f"{where}:")
