"""The photograph and the pose of `pose2seg demo`, and how long each stage of the model takes with them."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose2seg.errors import InputError
from pose2seg.model import Pose2Seg
from pose2seg.photographs import Photograph, find_photographs
from pose2seg.poses import read_poses

_POSES = Path(__file__).with_name("demo.json")


def demo_photograph() -> Photograph:
    """The photograph of Grace Hopper among matplotlib's sample data, with a pose annotated by hand.

    Raises InputError where matplotlib cannot be imported, OSError where it comes without its sample data.
    """
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError as error:
        raise InputError(
            f"matplotlib cannot be imported ({error}): pip install 'pose2seg_ops[demo]'"
        ) from error
    path = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
    (photograph,), _ = find_photographs([path], read_poses(_POSES))
    return photograph


def time_prediction(
    model: Pose2Seg, images: Sequence[Any], keypoints: Sequence[Any]
) -> tuple[list[Tensor], dict[str, float]]:
    """What `model.predict` returns for at most 16 people, and the seconds that each of its stages takes."""
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
