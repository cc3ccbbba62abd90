"""The interface of pose estimators, and their use as a source of poses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from pose2seg.data.poses.joints import from_confidences
from pose2seg.data.poses.people import ImagePoses, Person, image_id_of


class PoseEstimator(Protocol):
    """A function that finds people and their poses in an image."""

    def __call__(self, image: npt.NDArray[np.uint8], /) -> list[Person]:
        """Returns the people in an image, (H, W, 3) uint8 BGR; joints not found have visibility 0."""


class EstimatorKind(NamedTuple):
    """A kind of pose estimator.

    make: returns an estimator from its name or file, a device and a joint threshold.
    joint_threshold: the default threshold, on the estimator's own scale.
    """

    make: Callable[[str, torch.device, float], PoseEstimator]
    joint_threshold: float


@dataclass(frozen=True)
class EstimatedPoses:
    """The poses that an estimator finds in images, as a source of poses.

    pose_estimator: the name of the estimator or its file, for settings and reports.
    """

    estimator: PoseEstimator
    joint_threshold: float | None = None
    pose_estimator: str = "pose estimator"
    _one_at_a_time: Lock = field(default_factory=Lock, repr=False, compare=False)

    def image_id(self, image: Path) -> int | str:
        """Returns the id of the image at a path."""
        return image_id_of(image)

    def find(self, image: Path, size: tuple[int, int], pixels: npt.NDArray[np.uint8], /) -> ImagePoses:
        """Returns the poses in the image at a path, see `PoseSource`."""
        with self._one_at_a_time:  # images are read in several threads, and the estimator's memory is limited
            people = self.estimator(pixels)
        return ImagePoses(image_id_of(image), size, people)


class Detections(NamedTuple):
    """The people that an estimator finds in an image, before the joint threshold is applied.

    boxes: (n, 4) float32 left, top, right and bottom in pixels of the image.
    scores: (n,) float32, the confidence of each person.
    joints: (n, 17, 3) float32 x, y in pixels of the image, and confidence.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    joints: npt.NDArray[np.float32]

    def people(self, joint_threshold: float) -> list[Person]:
        """Returns the people with a joint whose confidence is at least `joint_threshold`."""
        poses = [from_confidences(joints, joint_threshold) for joints in self.joints]
        found = zip(poses, self.scores.tolist(), strict=True)
        return [Person(pose, score) for pose, score in found if pose[:, 2].any()]
