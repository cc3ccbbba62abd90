import numpy as np
import torch
from pycocotools import mask as coco_mask

import pose2seg_ops
from benchmarks import original
from benchmarks.case import OURS, REFERENCE, Case
from benchmarks.inputs import IMAGE, WHOLE_IMAGE, ellipses, image_matrices
from pose2seg_ops import reference


def _opencv_and_pycocotools(probabilities, matrices):
    (masks,) = original.paste_masks(probabilities, matrices, IMAGE, channels=1)
    return coco_mask.encode(np.asfortranarray(masks.numpy().transpose(1, 2, 0).view(np.uint8)))


def _overlap(encoded, expected):
    if isinstance(encoded[0], list):  # one image
        (encoded,) = encoded
    (expected,) = expected
    overlaps = coco_mask.iou(encoded, expected, [0] * len(expected)).diagonal()
    assert overlaps.min() >= 0.99, f"masks overlap by {overlaps.min():.4f}"


def _case(instances, label, **geometry):
    def inputs(device):
        return ellipses(instances).to(device), image_matrices(instances, **geometry).to(device)

    def batched(paste):
        def run(probabilities, matrices):
            return paste(probabilities, matrices, torch.zeros(len(matrices), dtype=torch.long), [IMAGE])

        return run

    implementations = {
        OURS: batched(pose2seg_ops.paste_rle),
        REFERENCE: batched(reference.paste_rle),
        "OpenCV and pycocotools": _opencv_and_pycocotools,
    }
    targets = {"OpenCV and pycocotools": 4}
    return Case("paste_rle", f"N={instances}, {label}", inputs, implementations, targets, agree=_overlap)


CASES = [
    *(_case(instances, "upright", angle=0.0) for instances in (1, 8, 32, 128)),
    *(_case(instances, "0.6 rad", angle=0.6) for instances in (1, 8, 32, 128)),
    *(_case(instances, "whole image", **WHOLE_IMAGE) for instances in (1, 8)),
]


def test_paste_rle(check_and_time, case, implementation):
    """Pastes ellipses of 64 x 64 into an image of 480 x 640, as COCO run lengths."""
    check_and_time(case, implementation)
