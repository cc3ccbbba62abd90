"""Training of Pose2Seg: the function `train`, and recipes for it."""

from pose2seg.training.augmentation import Augmentation, Crop, OriginalSimilarity, Similarity
from pose2seg.training.recipe import PRESETS, Recipe
from pose2seg.training.train import make_model, train

__all__ = [
    "PRESETS",
    "Augmentation",
    "Crop",
    "OriginalSimilarity",
    "Recipe",
    "Similarity",
    "make_model",
    "train",
]
