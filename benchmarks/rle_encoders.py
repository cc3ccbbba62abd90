"""Other encoders of COCO run lengths, which share the interface of pycocotools.mask."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.peers import find

_MODULES = ("pycocotools.mask", "hotcoco.mask", "faster_coco_eval.core.mask")


def encoders() -> Mapping[str, Callable[[Tensor], Any]]:
    """Returns the installed encoders by name; they encode masks (N, H, W) bool to RLE dicts."""
    found = {name: encode for module in _MODULES for name, encode in find(module, "encode").items()}
    return {name: _of_masks(encode) for name, encode in found.items()}


def _of_masks(encode: Callable[[Any], Any]) -> Callable[[Tensor], Any]:
    def run(masks: Tensor) -> Any:
        return encode(np.asfortranarray(masks.cpu().numpy().transpose(1, 2, 0).view(np.uint8)))

    return run
