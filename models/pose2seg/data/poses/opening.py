"""Opening files and folders of poses, whose format is detected from their content."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pose2seg.common.choices import JOINT_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.common.records import read_json
from pose2seg.data.poses import arrays, coco, instances, mmpose, openpose, yolo
from pose2seg.data.poses.people import PoseFile, PoseFolder

_SUFFIXES = (".json", ".npz", ".txt")


def pose_files(folder: Path) -> list[Path]:
    """Returns the files of a folder that may contain poses, sorted by name."""
    return sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)


def open_poses(path: Path, joint_threshold: float | None = None) -> PoseFile | PoseFolder:
    """Opens the poses in a file (see `read_poses`), or in a folder with a file for each image.

    A folder contains .json files of OpenPose, MMPose or Ultralytics' `to_json`, .txt files of YOLO, or .npz
    files with the arrays of rtmlib. When the folder is opened, its files are scanned for properties that they
    share; each file is read when its image is needed.

    joint_threshold: the lowest confidence of a joint that is used; by default 0.6 and, for OpenPose, whose
        confidences are lower, 0.05.

    Raises InputError if a folder contains other files or files of several kinds, and where `read_poses`
    does.
    """
    if not path.is_dir():
        return read_poses(path, joint_threshold)
    files = pose_files(path)
    kinds = sorted({file.suffix for file in files})
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of these"
        raise InputError(
            f"{path}: expected a folder of .json files (OpenPose, MMPose, Ultralytics), of YOLO's .txt or of "
            f"rtmlib's .npz, got {found}"
        )
    reader: ModuleType = {".json": _json_reader(files), ".npz": arrays, ".txt": yolo}[kinds[0]]
    source: PoseFolder = reader.open_folder(path, files, joint_threshold)
    return source


def read_poses(path: Path | str, joint_threshold: float | None = None) -> PoseFile:
    """Reads the people in a file of many images.

    The file has COCO annotations, OCHuman's own format, COCO keypoint results, MMPose's frames of a video, or
    results of MMPose 0.x.

    joint_threshold: the lowest confidence of a joint that is used, by default `JOINT_THRESHOLD`. Annotations
        have no confidences.

    Annotations belong to the image whose path ends in their "file_name"; people with at least one labelled
    joint are used, see `read_annotated_people`. Results belong to the image whose name, with or without
    extension or leading zeros, is their "image_id" or "frame_id". The third numbers of their joints are
    confidences: a joint is visible if its confidence is at least the threshold, and missing otherwise. If all
    third numbers of a file of COCO results are 0, 1 or 2, they are COCO's visibility. Joints beyond COCO's
    17, in results of Halpe or COCO-WholeBody models, are left out. A joint at (0, 0) is missing.

    A record that cannot be used, or that repeats another result, is left out with a DatasetWarning.

    Raises InputError, which names the record, if the file is malformed or none of its records can be
    used, and OSError if it cannot be read.
    """
    path = Path(path)
    content = read_json(path)
    threshold = JOINT_THRESHOLD if joint_threshold is None else joint_threshold
    if isinstance(content, dict) and "instance_info" in content:
        content = content["instance_info"]
    if isinstance(content, dict):
        if "people" in content and "annotations" not in content:
            raise _of_one_image(path)
        if joint_threshold is not None:
            raise InputError(f"{path}: annotations have no confidences: leave out --joint-threshold")
        return coco.read_annotations(path, content)
    if not isinstance(content, list):
        raise InputError(
            f"{path}: expected COCO annotations (an object) or results (a list), got {type(content).__name__}"
        )
    if mmpose.are_frames(content):
        return mmpose.read_frames(path, content, joint_threshold, threshold)
    if mmpose.are_batches(content):
        return mmpose.read_batches(path, content, joint_threshold, threshold)
    if content and instances.is_instance(content[0]):
        raise _of_one_image(path)
    return coco.read_results(path, content, joint_threshold, threshold)


def _of_one_image(path: Path) -> InputError:
    return InputError(
        f"{path}: contains the people of one image, but not its name: give the folder of such files, in "
        "which each is named after its image"
    )


def _json_reader(files: Sequence[Path]) -> ModuleType:
    """Returns the module for a folder of .json files, according to the first that can be read."""
    for path in files:
        if path.suffix == ".json" and not path.name.endswith("_keypoints.json"):  # the name is OpenPose's
            with contextlib.suppress(InputError, OSError):  # reported when the file is read for its image
                content = read_json(path)
                is_openpose = isinstance(content, dict) and "instance_info" not in content
                return openpose if is_openpose else instances
    return openpose
