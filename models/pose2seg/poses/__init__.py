"""Where people's poses come from: a module for each family of formats, and pose estimators."""

from pathlib import Path

from pose2seg.errors import InputError
from pose2seg.poses import openpose, yolo
from pose2seg.poses.coco import read_poses
from pose2seg.poses.people import ImagePoses, Person, PoseFile, PoseFolder, PoseSource, stack_poses

__all__ = [
    "ImagePoses",
    "Person",
    "PoseFile",
    "PoseFolder",
    "PoseSource",
    "open_poses",
    "pose_files",
    "read_poses",
    "stack_poses",
]


def pose_files(folder: Path) -> list[Path]:
    """The files of a folder that may hold poses, in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.suffix in (".json", ".txt"))


def open_poses(path: Path) -> PoseSource:
    """The poses in a file, as `read_poses` reads it, or in a folder with a file for each image.

    A folder holds OpenPose's .json files or YOLO's .txt files. They are read when their image is asked for.

    Raises InputError for a folder that holds neither or both, and as `read_poses` does.
    """
    if not path.is_dir():
        return read_poses(path)
    kinds = {file.suffix for file in pose_files(path)}
    if len(kinds) != 1:
        found = "both" if kinds else "neither"
        raise InputError(f"{path}: expected a folder of OpenPose's .json or YOLO's .txt files, got {found}")
    if kinds == {".json"}:
        return PoseFolder(path, openpose.ENDINGS, openpose.read_people)
    return PoseFolder(path, yolo.ENDINGS, yolo.read_people)
