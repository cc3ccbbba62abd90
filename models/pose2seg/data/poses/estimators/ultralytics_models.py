"""YOLO-pose models in Ultralytics' own file format."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pose2seg.common.errors import InputError
from pose2seg.common.torchvision import torchvision_hint
from pose2seg.data.poses.estimators.interface import Detections
from pose2seg.data.poses.people import Person
from pose2seg_ops import COCO_KEYPOINTS


class UltralyticsPose:
    """A YOLO-pose model that is run by Ultralytics, with the defaults of its `predict`.

    If the file does not exist and has a name that Ultralytics publishes, such as yolo11n-pose.pt, Ultralytics
    downloads it to that path, and prints from where and how large it is. The file is a pickle, which can
    execute code when it is opened.

    Raises InputError if Ultralytics is not installed or cannot read the file, or if the joints are others.
    """

    def __init__(self, path: Path, device: torch.device, joint_threshold: float) -> None:
        # By default, Ultralytics installs missing packages. It also prints to the standard output, to which
        # masks may be written.
        os.environ.setdefault("YOLO_AUTOINSTALL", "false")
        with redirect_stdout(sys.stderr):
            try:
                from ultralytics import YOLO
            except (ImportError, RuntimeError) as error:  # RuntimeError: another torchvision is needed
                raise InputError(
                    f"{path}: needs Ultralytics, which cannot be imported ({error}): install torchvision, "
                    f"which it needs ({torchvision_hint()}), and then pip install ultralytics"
                ) from error
            try:
                self._model: Any = YOLO(str(path))
            except Exception as error:  # no network, or a damaged file
                raise InputError(f"{path}: Ultralytics cannot load it: {error}") from error
        joints = getattr(self._model.model, "kpt_shape", None)
        if self._model.task != "pose" or joints is None or joints[0] != len(COCO_KEYPOINTS):
            raise InputError(
                f"{path}: must be a pose model of {len(COCO_KEYPOINTS)} joints, "
                f"got one for {self._model.task} with joints {joints}"
            )
        classes = len(self._model.names)
        if classes > 1:
            raise InputError(f"{path}: must detect only people, got {classes} classes")
        self._device = device
        self._joint_threshold = joint_threshold

    def __call__(self, image: npt.NDArray[np.uint8], /) -> list[Person]:
        """See `PoseEstimator`."""
        return self.detect(image).people(self._joint_threshold)

    def detect(self, image: npt.NDArray[np.uint8]) -> Detections:
        """Returns the people in an image, (H, W, 3) uint8 BGR."""
        (result,) = self._model.predict(image, device=self._device, verbose=False)
        found = result.cpu().numpy()
        joints = found.keypoints.data.reshape(len(found), len(COCO_KEYPOINTS), -1)
        if joints.shape[2] == 2:  # the model gives no confidences
            joints = np.concatenate([joints, np.ones_like(joints[:, :, :1])], axis=2)
        return Detections(found.boxes.xyxy, found.boxes.conf, joints)
