"""Pose estimators of other libraries, which find poses in images."""

from pathlib import Path

import torch

from pose2seg.common.choices import JOINT_THRESHOLD, KEYPOINT_RCNN_JOINT_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.data.poses.estimators.interface import (
    Detections,
    EstimatedPoses,
    EstimatorKind,
    PoseEstimator,
)
from pose2seg.data.poses.estimators.keypoint_rcnn import KeypointRCNN
from pose2seg.data.poses.estimators.onnx_models import open_onnx
from pose2seg.data.poses.estimators.rtmlib_models import RTMLibPose
from pose2seg.data.poses.estimators.ultralytics_models import UltralyticsPose

__all__ = [
    "POSE_ESTIMATORS",
    "POSE_ESTIMATOR_FILES",
    "Detections",
    "EstimatedPoses",
    "EstimatorKind",
    "KeypointRCNN",
    "PoseEstimator",
    "open_estimator",
]

#: The pose estimators by the names of `pose2seg predict --pose-estimator`.
POSE_ESTIMATORS = {
    "keypoint-rcnn": EstimatorKind(
        lambda _, device, threshold: KeypointRCNN(device, threshold), KEYPOINT_RCNN_JOINT_THRESHOLD
    ),
    "rtmo": EstimatorKind(RTMLibPose, JOINT_THRESHOLD),
    "rtmpose": EstimatorKind(RTMLibPose, JOINT_THRESHOLD),
}

#: The pose estimators in files, by suffix.
POSE_ESTIMATOR_FILES = {
    ".pt": EstimatorKind(
        lambda path, device, threshold: UltralyticsPose(Path(path), device, threshold), JOINT_THRESHOLD
    ),
    ".onnx": EstimatorKind(
        lambda path, device, threshold: open_onnx(Path(path), device, threshold), JOINT_THRESHOLD
    ),
}


def open_estimator(
    name: str, device: torch.device | str = "cpu", joint_threshold: float | None = None
) -> EstimatedPoses:
    """Opens one of `POSE_ESTIMATORS`, or a file with a suffix in `POSE_ESTIMATOR_FILES`.

    joint_threshold: the lowest confidence of a joint that is used; by default the estimator's own.

    Raises InputError if the name is unknown or the estimator is not available.
    """
    kind = POSE_ESTIMATORS.get(name) or POSE_ESTIMATOR_FILES.get(Path(name).suffix)
    if kind is None:
        raise InputError(
            f"the pose estimator must be {', '.join(POSE_ESTIMATORS)}, or a file ending in "
            f"{' or '.join(POSE_ESTIMATOR_FILES)}, got {name}"
        )
    threshold = kind.joint_threshold if joint_threshold is None else joint_threshold
    return EstimatedPoses(kind.make(name, torch.device(device), threshold), threshold, Path(name).name)
