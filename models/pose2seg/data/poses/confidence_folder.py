"""Folders with a file for each image, in which all confidences have the same scale."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from pose2seg.common.choices import JOINT_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.data.poses.joints import require_scale
from pose2seg.data.poses.people import Person, PoseFolder


def open_confidence_folder(
    folder: Path,
    files: Sequence[Path],
    patterns: tuple[str, ...],
    joint_threshold: float | None,
    read_people: Callable[[Path, float], list[Person]],
    highest_in: Callable[[Path], float],
) -> PoseFolder:
    """Opens a folder of poses.

    patterns: as in `PoseFolder`.
    joint_threshold: the lowest confidence of a joint that is used, by default `JOINT_THRESHOLD`.
    read_people: returns the people in a file, (file, joint threshold) -> people.
    highest_in: returns the highest confidence in a file.

    Raises InputError if the confidences have another scale and `joint_threshold` is None.
    """
    threshold = JOINT_THRESHOLD if joint_threshold is None else joint_threshold
    highest = []
    for path in files:
        with contextlib.suppress(InputError, OSError):  # reported when the file is read for its image
            highest.append(highest_in(path))
    require_scale(folder, highest, joint_threshold, threshold)

    def read(path: Path, _: tuple[int, int]) -> list[Person]:
        return read_people(path, threshold)

    return PoseFolder(folder, patterns, read, threshold)
