"""torchvision's Keypoint R-CNN."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pose2seg.common.errors import InputError
from pose2seg.common.torchvision import torchvision_hint
from pose2seg.data.poses.estimators.download import announce_download
from pose2seg.data.poses.people import Person


class KeypointRCNN:
    """torchvision's Keypoint R-CNN (He et al., "Mask R-CNN", ICCV 2017), trained on COCO by its authors.

    torchvision downloads the weights on first use, and keeps them. People with a score of at least
    `MINIMUM_SCORE` are returned, with the joints that have a logit of at least `joint_threshold`.

    Raises InputError if torchvision or its weights are not available.
    """

    MINIMUM_SCORE = 0.5

    def __init__(self, device: torch.device, joint_threshold: float) -> None:
        try:
            from torchvision.models import detection
        except (ImportError, RuntimeError) as error:  # RuntimeError: it was built for another torch
            raise InputError(
                f"no torchvision that fits torch {torch.__version__} is installed ({error}): "
                f"{torchvision_hint()}"
            ) from error
        weights = detection.KeypointRCNN_ResNet50_FPN_Weights.DEFAULT
        folder = Path(torch.hub.get_dir(), "checkpoints")
        announce_download(weights.url, folder / Path(weights.url).name)
        try:
            model = detection.keypointrcnn_resnet50_fpn(weights=weights, box_score_thresh=self.MINIMUM_SCORE)
        except Exception as error:  # no network, a full disk, or a damaged file
            raise InputError(
                f"the weights of Keypoint R-CNN cannot be loaded: {error}; download {weights.url} to {folder}"
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
