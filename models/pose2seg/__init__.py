"""Pose2Seg (Zhang et al., CVPR 2019): human instance segmentation from poses, on `pose2seg_ops`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pose2seg.common.choices import BUNDLED_WEIGHTS
    from pose2seg.common.errors import InputError
    from pose2seg.network.checkpoint import (
        load_checkpoint,
        load_encoder_weights,
        load_model,
        save_checkpoint,
        save_official_checkpoint,
    )
    from pose2seg.network.model import Architecture, Pose2Seg, Segmentation
    from pose2seg.network.templates import load_templates

__all__ = [
    "BUNDLED_WEIGHTS",
    "Architecture",
    "InputError",
    "Pose2Seg",
    "Segmentation",
    "load_checkpoint",
    "load_encoder_weights",
    "load_model",
    "load_templates",
    "save_checkpoint",
    "save_official_checkpoint",
]

_MODULES = {
    "pose2seg.common.choices": ("BUNDLED_WEIGHTS",),
    "pose2seg.common.errors": ("InputError",),
    "pose2seg.network.checkpoint": (
        "load_checkpoint",
        "load_encoder_weights",
        "load_model",
        "save_checkpoint",
        "save_official_checkpoint",
    ),
    "pose2seg.network.model": ("Architecture", "Pose2Seg", "Segmentation"),
    "pose2seg.network.templates": ("load_templates",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that the command line starts without torch."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
