"""Pose estimators of other libraries: poses straight from photographs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from pose2seg.errors import InputError
from pose2seg.files import read_image
from pose2seg.poses.people import ImagePoses, Person, image_id_of


class PoseEstimator(Protocol):
    """Finds people and their poses."""

    def __call__(self, image: npt.NDArray[np.uint8], /) -> list[Person]:
        """The people in a photograph, (H, W, 3) uint8 BGR; joints that are not found have visibility 0."""


@dataclass(frozen=True)
class EstimatedPoses:
    """The poses that an estimator finds in images, a source of poses like a file."""

    estimator: PoseEstimator
    joint_threshold: float | None = None
    _one_at_a_time: Lock = field(default_factory=Lock, repr=False, compare=False)

    def image_id(self, image: Path) -> int | str:
        """The id of the image at a path."""
        return image_id_of(image)

    def find(self, image: Path) -> ImagePoses:
        """The poses in the image at a path. Raises as `read_image` does."""
        pixels = read_image(image)
        with self._one_at_a_time:  # for the estimator's memory, where images are read in several threads
            people = self.estimator(pixels)
        return ImagePoses(image_id_of(image), pixels.shape[:2], people)


class KeypointRCNN:
    """torchvision's Keypoint R-CNN (He et al., "Mask R-CNN", ICCV 2017), trained on COCO by its authors.

    The weights are those that torchvision downloads when they are first used, and keeps. People with a score
    of at least `MINIMUM_SCORE` count, and their joints with a logit of at least `joint_threshold`.

    Raises InputError where torchvision or its weights are not to be had.
    """

    MINIMUM_SCORE = 0.5

    def __init__(self, device: torch.device, joint_threshold: float) -> None:
        try:
            from torchvision.models import detection
        except (ImportError, RuntimeError) as error:  # RuntimeError: it is made for another build of torch
            raise InputError(
                f"no torchvision that fits torch {torch.__version__} is installed ({error}): "
                "pip install torchvision, from the same index as torch"
            ) from error
        weights = detection.KeypointRCNN_ResNet50_FPN_Weights.DEFAULT
        try:
            model = detection.keypointrcnn_resnet50_fpn(weights=weights, box_score_thresh=self.MINIMUM_SCORE)
        except Exception as error:  # no network, no room on the disk, or a file that is damaged
            raise InputError(
                f"the weights of Keypoint R-CNN cannot be loaded: {error}; the file of {weights.url} belongs "
                f"into {Path(torch.hub.get_dir(), 'checkpoints')}"
            ) from error
        self._model = model.eval().to(device)
        self._device = device
        self._joint_threshold = joint_threshold

    @torch.inference_mode()
    def __call__(self, image: npt.NDArray[np.uint8], /) -> list[Person]:
        """See `PoseEstimator`."""
        rgb = torch.from_numpy(image).to(self._device).flip(-1).permute(2, 0, 1) / 255
        (found,) = self._model([rgb])
        keypoints = found["keypoints"]
        keypoints[:, :, 2] = 2 * (found["keypoints_scores"] >= self._joint_threshold)
        keypoints[keypoints[:, :, 2] == 0] = 0
        people = zip(keypoints.cpu().numpy(), found["scores"].tolist(), strict=True)
        return [Person(pose, score) for pose, score in people if pose[:, 2].any()]


class EstimatorKind(NamedTuple):
    """make: of a device and a joint threshold, which is on the estimator's own scale and has a default."""

    make: Callable[[torch.device, float], PoseEstimator]
    joint_threshold: float


#: By the names that `pose2seg predict --pose-estimator` takes. The threshold of Keypoint R-CNN is a logit;
#: its authors draw joints from 2 on (`vis_keypoints` of their Detectron).
POSE_ESTIMATORS = {"keypoint-rcnn": EstimatorKind(KeypointRCNN, joint_threshold=2.0)}


def open_estimator(name: str, device: torch.device, joint_threshold: float | None = None) -> EstimatedPoses:
    """The poses that one of `POSE_ESTIMATORS` finds, with its own joint threshold or another."""
    make, threshold = POSE_ESTIMATORS[name]
    if joint_threshold is not None:
        threshold = joint_threshold
    return EstimatedPoses(make(device, threshold), threshold)
