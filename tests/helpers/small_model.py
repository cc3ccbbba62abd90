"""A Pose2Seg with few parameters, for tests that do not depend on the weights."""

import torch
from pose2seg import Architecture, Pose2Seg


def small_model(templates: torch.Tensor) -> Pose2Seg:
    """Returns a complete model with 8 feature channels and random weights, in training mode."""
    return Pose2Seg(templates, Architecture((1, 1, 1, 1), 4, 8, 8, 1))
