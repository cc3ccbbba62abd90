from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import pose2seg_ops
from benchmarks import original
from benchmarks.case import OURS, REFERENCE, Case, overlap_at_least
from benchmarks.inputs import IMAGE, WHOLE_IMAGE, ellipses, image_matrices
from pose2seg_ops import reference


def _case(instances, size, **geometry):
    def inputs(device):
        return ellipses(instances).to(device), image_matrices(instances, **geometry).to(device)

    def batched(paste):
        def run(probabilities, matrices):
            batch_index = torch.zeros(len(matrices), dtype=torch.long)
            return paste(probabilities, matrices, batch_index, [IMAGE])

        return run

    implementations: dict[str, Callable[..., Any]] = {
        OURS: batched(pose2seg_ops.paste_masks),
        REFERENCE: batched(reference.paste_masks),
        "OpenCV": partial(original.paste_masks, image_size=IMAGE, channels=1),
        "original": partial(original.paste_masks, image_size=IMAGE),
    }
    # OpenCV rounds positions to 1/32 pixel.
    agree = overlap_at_least(0.99)
    return Case("paste_masks", f"N={instances}, {size}", inputs, implementations, {"OpenCV": 2}, agree=agree)


CASES = [
    *(_case(instances, "256 pixels") for instances in (1, 8, 32, 128)),
    *(_case(instances, "whole image", **WHOLE_IMAGE) for instances in (1, 8)),
]


def test_paste_masks(check_and_time, case, implementation):
    """Pastes ellipses of 64 x 64 into an image of 480 x 640, as people of 256 pixels and as large as the
    image."""
    check_and_time(case, implementation)
