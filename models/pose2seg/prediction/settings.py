"""The settings of a prediction, which must be the same for a run that resumes it."""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pose2seg.common.errors import InputError
from pose2seg.common.files import checksum, real_path
from pose2seg.common.records import read_json
from pose2seg.common.text import shown
from pose2seg.data.poses import pose_files
from pose2seg.prediction.outputs import CollectedFile, ImageFiles

#: The names of the inputs of a prediction.
ESTIMATOR_WEIGHTS = "weights of the pose estimator"
_INPUTS = ("poses", ESTIMATOR_WEIGHTS, "weights", "templates")


def settings_of(
    output: Path,
    *,
    beside: Sequence[ImageFiles | CollectedFile],
    threshold: float,
    joint_threshold: float | None,
    pose_estimator: str | None,
    precision: str,
    flip: bool,
    inputs: Mapping[str, Path],
) -> dict[str, Any]:
    """Returns everything that the results depend on, as JSON values.

    inputs: files and folders, by the names of `_INPUTS`.
    """
    made: dict[str, Any] = {}
    for each in beside:
        if isinstance(each, ImageFiles):  # relative to the output, so that everything can be moved
            made[each.option] = os.path.relpath(real_path(each.folder), real_path(output).parent)
            made.update(each.settings)
        else:
            made[each.option] = True
    return {
        "threshold": threshold,
        "joint_threshold": joint_threshold,
        "pose_estimator": pose_estimator,
        "precision": precision,
        "flip": flip,
        **made,
        "checksums": {
            name: _checksum(path)
            for name, path in inputs.items()
            if path.is_file() or path.is_dir()  # a pipe can only be read once
        },
    }


def _checksum(path: Path) -> int:
    """Returns the checksum of a file, or of the names and contents of the pose files in a folder."""
    if not path.is_dir():
        return checksum(path)
    files = [(file.name, checksum(file)) for file in pose_files(path) if file.is_file()]
    return zlib.crc32(json.dumps(files).encode())


def require_same(saved_in: Path, settings: Mapping[str, Any]) -> None:
    """Raises InputError, which says what has changed, unless the settings in a JSON file are these."""
    saved = read_json(saved_in)
    if not isinstance(saved, dict):
        raise InputError(f"{saved_in}: expected the settings of a prediction (an object), got {shown(saved)}")
    change = _describe_change(saved, settings)
    if change is not None:
        raise InputError(f"{saved_in.parent}: {change} since this run began")


def _describe_change(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    sums, sums_now = saved.get("checksums"), now.get("checksums", {})
    for name in _INPUTS:
        if not isinstance(sums, dict) or sums.get(name) != sums_now.get(name):
            return f"the {name} have changed"
    for key in {**saved, **now}:
        if saved.get(key) != now.get(key):
            option = "--" + key.replace("_", "-")
            return f"{option} has changed from {shown(saved.get(key))} to {shown(now.get(key))}"
    return None
