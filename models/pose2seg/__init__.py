"""Pose2Seg (Zhang et al., CVPR 2019): human instance segmentation from poses, on `pose2seg_ops`."""

from pose2seg.checkpoint import (
    BUNDLED_WEIGHTS,
    load_checkpoint,
    load_imagenet_weights,
    load_model,
    save_checkpoint,
    save_official_checkpoint,
)
from pose2seg.errors import InputError
from pose2seg.model import Architecture, Pose2Seg, Segmentation
from pose2seg.templates import load_templates

__all__ = [
    "BUNDLED_WEIGHTS",
    "Architecture",
    "InputError",
    "Pose2Seg",
    "Segmentation",
    "load_checkpoint",
    "load_imagenet_weights",
    "load_model",
    "load_templates",
    "save_checkpoint",
    "save_official_checkpoint",
]
