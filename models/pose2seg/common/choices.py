"""The names and defaults that the command line offers, kept apart from their implementations.

The implementations import torch, which takes a second; `pose2seg --help` must not wait for it.
"""

import re
from pathlib import Path
from typing import Literal

#: The weights that come with the package.
BUNDLED_WEIGHTS = Path(__file__).parents[1] / "network" / "pose2seg_small.safetensors"

#: Weights that can be given by a name instead of a path; a file with this name is given as "./small".
NAMED_WEIGHTS = {"small": BUNDLED_WEIGHTS}


def weights_path(given: Path | str) -> Path:
    """Returns the file of the weights that a name in `NAMED_WEIGHTS` or a path denotes."""
    name = given if isinstance(given, str) else ""
    return NAMED_WEIGHTS.get(name) or Path(given)


#: The probability above which a pixel belongs to a mask, in `Pose2Seg.predict`, `pose2seg predict` and the
#: scores of `pose2seg evaluate`. The ops have a default of their own.
MASK_THRESHOLD = 0.5

#: The lowest confidence, from 0 to 1, of a joint that is used (`tools/joint_threshold.py`,
#: docs/model_card.md).
JOINT_THRESHOLD = 0.6

#: The same for OpenPose, whose confidences are lower than those of other detectors: the default of its own
#: --render_threshold. OpenPose writes zeros for joints that it does not find.
OPENPOSE_JOINT_THRESHOLD = 0.05

#: The same for Keypoint R-CNN, as a logit. Its authors draw joints above 2 (`vis_keypoints` of Detectron).
KEYPOINT_RCNN_JOINT_THRESHOLD = 2.0

#: The names of the pose estimators in `pose2seg.data.poses.estimators`.
POSE_ESTIMATORS = ("keypoint-rcnn", "rtmo", "rtmpose")

#: The suffixes of pose estimator files: those of Ultralytics, and exported ones.
POSE_ESTIMATOR_FILES = (".pt", ".onnx")

#: The formats that `pose2seg.network.export` can write.
EXPORT_FORMATS = ("onnx", "aoti", "torch")

RESNET = "resnet"
TIMM = "timm:"  # the prefix of timm's names

#: The encoders in `pose2seg.network.encoders`, without those of timm.
ENCODERS = (RESNET, "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


def is_encoder(name: str) -> bool:
    """Returns whether a name can be that of an encoder. The names of timm's downloads cannot."""
    return name in ENCODERS or re.fullmatch(rf"{TIMM}[\w.]{{1,99}}", name, re.ASCII) is not None


#: The names of the recipes in `pose2seg.training.recipe`.
PRESETS = ("fine-tune", "official", "modern", "small", "lite")

#: With fewer training images, and no option that asks for something else, `pose2seg train` fine-tunes the
#: small model.
FEW_IMAGES = 5_000

#: "auto" is the precision of `pose2seg.network.inference.fastest_precision`.
Precision = Literal["auto", "float32", "bfloat16", "float16"]

BatchNorm = Literal["batch", "synchronised", "frozen"]
