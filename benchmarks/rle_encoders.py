"""Encoders of COCO run lengths by others, which share the interface of pycocotools.mask."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import Tensor

_PACKAGES = {"pycocotools": "pycocotools", "hotcoco": "hotcoco", "faster-coco-eval": "faster_coco_eval"}

#: Why one that could take part does not.
MISSING = {
    name: f"{name} is not installed" for name, package in _PACKAGES.items() if find_spec(package) is None
}


def encoders() -> Mapping[str, Callable[[Tensor], Any]]:
    """By name, those that are installed: of masks (N, H, W) bool to RLE dicts."""
    return {name: _encoder(package) for name, package in _PACKAGES.items() if name not in MISSING}


def _encoder(package: str) -> Callable[[Tensor], Any]:
    encode = __import__(package, fromlist=["mask"]).mask.encode

    def run(masks: Tensor) -> Any:
        return encode(np.asfortranarray(masks.numpy().transpose(1, 2, 0).view(np.uint8)))

    return run
