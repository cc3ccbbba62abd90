"""NumPy arrays of poses, as rtmlib returns them, in an .npz file for each image."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose2seg.common.choices import JOINT_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.data.poses.confidence_folder import open_confidence_folder
from pose2seg.data.poses.joints import (
    LAYOUTS_THAT_BEGIN_AS_COCO,
    Joints,
    from_confidences,
    mean_confidence,
)
from pose2seg.data.poses.people import Person, PoseFolder
from pose2seg_ops import COCO_KEYPOINTS

#: The names of the file of an image.
PATTERNS = ("{}.npz",)

#: The names of the two arrays in a file: those of rtmlib, and NumPy's defaults.
_NAMES = (("keypoints", "scores"), ("arr_0", "arr_1"))

_NOT_NPZ = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, TypeError, AttributeError, RuntimeError)


def open_folder(folder: Path, files: Sequence[Path], joint_threshold: float | None) -> PoseFolder:
    """Opens a folder of .npz files (see `read_people`).

    joint_threshold: the lowest confidence of a joint that is used, by default `JOINT_THRESHOLD`.
    """
    return open_confidence_folder(folder, files, PATTERNS, joint_threshold, read_people, _highest_in)


def read_people(path: Path, joint_threshold: float = JOINT_THRESHOLD) -> list[Person]:
    """Reads the people in an .npz file with the arrays that rtmlib's models return, "keypoints" and "scores".

    "keypoints" is (n, k, 2), x and y in pixels, and "scores" is (n, k), the joints' confidences. The first 17
    of the k joints are COCO's, as in rtmlib's models for bodies, bodies with feet and whole bodies; the
    others are left out.

    Raises InputError if the file is malformed, and OSError if it cannot be read.
    """
    return people_from_arrays(*_read_arrays(path), joint_threshold)


def people_from_arrays(
    positions: npt.NDArray[Any], confidences: npt.NDArray[Any], joint_threshold: float
) -> list[Person]:
    """Returns the people in two arrays who have a joint with a confidence of at least `joint_threshold`.

    positions: (n, 17, 2) x, y in pixels; a joint at NaN is missing.
    confidences: (n, 17). The score of a person is the mean confidence of the joints that are used.
    """
    people = []
    for joints in _joints(positions, confidences):
        pose = from_confidences(joints, joint_threshold)
        if pose[:, 2].any():
            people.append(Person(pose, mean_confidence(joints, pose)))
    return people


def _joints(positions: npt.NDArray[Any], confidences: npt.NDArray[Any]) -> Joints:
    """Returns x, y and confidence of the joints, (n, 17, 3)."""
    joints = np.concatenate([positions, confidences[:, :, None]], axis=2).astype(np.float32)
    joints[np.isnan(joints).any(axis=2)] = 0
    return joints[:, : len(COCO_KEYPOINTS)]


def _highest_in(path: Path) -> float:
    """Returns the highest confidence in a file."""
    return float(_joints(*_read_arrays(path))[:, :, 2].max(initial=0))


def _read_arrays(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            named = next((names for names in _NAMES if set(names) <= set(file.files)), None)
            if named is None:
                found = ", ".join(file.files) or "none"
                raise InputError(f'{path}: must hold the arrays "keypoints" and "scores", got {found}')
            positions, confidences = (file[name] for name in named)
    except InputError:
        raise
    except _NOT_NPZ as error:
        raise InputError(f"{path}: not an .npz file of numbers: {error}") from error
    _require_form(path, positions, confidences)
    return positions, confidences


def _require_form(path: Path, positions: npt.NDArray[Any], confidences: npt.NDArray[Any]) -> None:
    shapes = positions.shape, confidences.shape
    counts = LAYOUTS_THAT_BEGIN_AS_COCO
    if not (
        positions.ndim == 3
        and positions.shape[1:] in [(count, 2) for count in counts]
        and confidences.shape == positions.shape[:2]
    ):
        listed = ", ".join(map(str, counts))
        raise InputError(
            f"{path}: keypoints and scores must be (n, k, 2) and (n, k) with k of {listed}, got {shapes[0]} "
            f"and {shapes[1]}"
        )
    for array in (positions, confidences):
        if array.dtype.kind not in "fiu":
            raise InputError(f"{path}: keypoints and scores must be numbers, got {array.dtype}")
        with np.errstate(over="ignore"):
            if np.isinf(array.astype(np.float32)).any():
                raise InputError(f"{path}: keypoints and scores must be finite in float32")
