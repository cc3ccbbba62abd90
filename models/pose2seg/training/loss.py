"""The loss of predicted masks."""

import torch.nn.functional as F
from torch import Tensor


def person_losses(logits: Tensor, targets: Tensor, iou_weight: float) -> Tensor:
    """Returns the loss of each person, (N,) float32: the mean cross-entropy plus `iou_weight` times 1 - IoU.

    The IoU is that of the probabilities, with a pixel added to the intersection and to the union (Rahman and
    Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation", ISVC 2016).

    logits: (N, 2, h, w) background and person.
    targets: (N, h, w) int64, 0 or 1.
    """
    logits = logits.float()
    losses = F.cross_entropy(logits, targets, reduction="none").mean((1, 2))
    if iou_weight == 0:
        return losses
    probabilities = logits.softmax(1)[:, 1]
    common = (probabilities * targets).sum((1, 2))
    union = (probabilities + targets).sum((1, 2)) - common
    return losses + iou_weight * (1 - (common + 1) / (union + 1))
