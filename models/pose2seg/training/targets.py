"""The input and the targets of the network, which are computed on the training device."""

import torch
from torch import Tensor

from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.geometry import compose
from pose2seg.network.model import ALIGN_SIZE
from pose2seg.training.loader import Batch
from pose2seg_ops import affine_align


def network_input(batch: Batch, size: int) -> Tensor:
    """Returns the images warped by `batch.to_input`, RGB and normalised, (B, 3, size, size) float32.

    If `to_input` is a letterbox, the result equals that of `pose2seg_ops.letterbox`.
    """
    first = batch.to_input.new_zeros(1, dtype=torch.int64)
    warped = [
        affine_align(image.permute(2, 0, 1)[None].float(), matrix[None], first, (size, size))
        for image, matrix in zip(batch.images, batch.to_input, strict=True)
    ]
    mean = batch.to_input.new_tensor(IMAGENET_MEAN)[:, None, None]
    std = batch.to_input.new_tensor(IMAGENET_STD)[:, None, None]
    return (torch.cat(warped).flip(1) / 255 - mean) / std


def mask_targets(batch: Batch, matrices: Tensor) -> Tensor:
    """Returns the masks in the crops of the people, (N, 64, 64) int64, sampled bilinearly and rounded.

    matrices: (N, 2, 3), network input -> crop.

    Source: the targets of Pose2Seg's training (Zhang et al., CVPR 2019).
    """
    to_align = compose(matrices, batch.to_input[batch.batch_index])
    warped = [
        affine_align(
            masks[:, None].float(), of_image, torch.arange(len(masks), device=masks.device), ALIGN_SIZE
        )
        for masks, of_image in zip(batch.masks, to_align.split([len(m) for m in batch.masks]), strict=True)
    ]
    return (torch.cat(warped)[:, 0] > 0.5).long()
