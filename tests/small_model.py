"""A Pose2Seg of few parameters, for tests that hold with any weights."""

import torch
from pose2seg import Pose2Seg


def small_model(templates: torch.Tensor) -> Pose2Seg:
    """All parts of the model, with 8 feature channels and random weights, in training mode."""
    return Pose2Seg(
        templates,
        backbone_blocks=(1, 1, 1, 1),
        backbone_width=4,
        channels=8,
        head_width=8,
        head_blocks=1,
    )
