"""The small model that comes with this package."""

from pathlib import Path

from torch import Tensor

from pose2seg.checkpoint import load_model
from pose2seg.errors import InputError
from pose2seg.model import Pose2Seg

BUNDLED_WEIGHTS = Path(__file__).with_name("pose2seg_small.safetensors")


def bundled_model(templates: Tensor | None = None) -> Pose2Seg:
    """The small model that comes with this package, in evaluation mode on the CPU.

    templates: in place of those that it was trained with.

    Raises InputError where the package has no model.
    """
    if not BUNDLED_WEIGHTS.exists():
        raise InputError(f"{BUNDLED_WEIGHTS}: this installation comes without a model; give --weights")
    return load_model(BUNDLED_WEIGHTS, templates)
