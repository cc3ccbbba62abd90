"""Fake models, whose masks are known."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from pose2seg import Pose2Seg, load_templates
from pose2seg.common.choices import MASK_THRESHOLD
from pose2seg.data.dataset import PersonImage
from pose2seg.network.model import Probabilities
from pycocotools import mask as coco_mask
from small_model import small_model

from pose2seg_ops import RLE


def known_masks(images: Sequence[PersonImage], shifts: Iterable[int] = itertools.repeat(0)) -> Pose2Seg:
    """Returns a fake model that predicts the annotated masks, each moved to the right by its shift."""
    return cast(Pose2Seg, _KnownMasks(images, iter(shifts)))


class _KnownMasks:
    def __init__(self, images: Sequence[PersonImage], shifts: Iterable[int]) -> None:
        self._masks: dict[bytes, RLE] = {}
        for image in images:
            for person, mask in zip(image.people, image.masks, strict=True):
                moved = np.pad(mask, ((0, 0), (next(iter(shifts)), 0)))[:, : mask.shape[1]]
                self._masks[person.keypoints.tobytes()] = coco_mask.encode(np.asfortranarray(moved))

    def predict_probabilities(self, images: Sequence[Any], keypoints: Sequence[Any]) -> Probabilities:
        """Probabilities 0 and 1, in maps of the size of the largest image."""
        assert len(images) == len(keypoints)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        maps = []
        for (height, width), of_image in zip(sizes, keypoints, strict=True):
            for pose in of_image:
                mask = torch.from_numpy(coco_mask.decode(self._masks[pose.tobytes()]))
                below, right = max(h for h, _ in sizes) - height, max(w for _, w in sizes) - width
                maps.append(torch.nn.functional.pad(mask.float(), (0, right, 0, below)))
        counts = torch.tensor([len(of_image) for of_image in keypoints])
        matrices = torch.eye(2, 3).expand(len(maps), 2, 3)
        empty = torch.zeros(0, 1, 1)
        return Probabilities(
            torch.stack(maps) if maps else empty, matrices, torch.repeat_interleave(counts), sizes
        )


def intricate_model() -> Pose2Seg:
    """Returns a small model whose masks have holes everywhere, because its logits are close to zero."""
    torch.manual_seed(0)
    model = small_model(load_templates()).eval()
    with torch.no_grad():
        bias = model.segnet.pred_small.bias
        assert bias is not None
        bias[0] += 0.6216 - math.log(MASK_THRESHOLD / (1 - MASK_THRESHOLD))
    return model
