"""Sources of poses: a module for each family of file formats, and pose estimators."""

from pose2seg.data.poses.opening import open_poses, pose_files, read_poses
from pose2seg.data.poses.people import (
    ImagePoses,
    Person,
    PoseFile,
    PoseFolder,
    PoseSource,
    stack_poses,
    unit_problem,
)

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
    "unit_problem",
]
