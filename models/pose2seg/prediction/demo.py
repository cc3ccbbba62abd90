"""The image and the pose of `pose2seg demo`, and the time of each stage of the model."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose2seg.common.errors import InputError
from pose2seg.data.posed_images import PosedImage, find_images
from pose2seg.data.poses import read_poses
from pose2seg.network.model import Pose2Seg

_POSES = Path(__file__).with_name("demo.json")


def demo_image() -> PosedImage:
    """Returns the image of Grace Hopper in matplotlib's sample data, with a pose annotated by hand.

    Raises InputError if matplotlib cannot be imported, and OSError if its sample data are not installed.
    """
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError as error:
        raise InputError(
            f"matplotlib cannot be imported ({error}): pip install 'pose2seg_ops[demo]'"
        ) from error
    path = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
    (image,), _ = find_images([path], read_poses(_POSES))
    return image


def time_prediction(
    model: Pose2Seg, images: Sequence[Any], keypoints: Sequence[Any]
) -> tuple[list[Tensor], dict[str, float]]:
    """Returns the masks of `model.predict` for at most 16 people, and the seconds of each of its stages."""
    times: list[float] = []

    def note_time(*_: object) -> None:
        if model.templates.is_cuda:
            torch.cuda.synchronize(model.templates.device)
        times.append(time.perf_counter())

    hooks = [part.register_forward_pre_hook(note_time) for part in (model.backbone, model.segnet)]
    hooks += [part.register_forward_hook(note_time) for part in (model.backbone, model.segnet)]
    try:
        note_time()
        masks = model.predict(images, keypoints)
        note_time()
    finally:
        for hook in hooks:
            hook.remove()
    stages = "letterbox", "backbone", "pose fit and alignment", "segmentation head", "paste"
    seconds = [end - start for start, end in itertools.pairwise(times)]
    return masks, dict(zip(stages, seconds, strict=True))
