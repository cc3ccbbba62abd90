"""How good a model is while it trains."""

from collections.abc import Mapping, Sequence

import numpy as np

from pose2seg.dataset import PersonImage
from pose2seg.model import Pose2Seg


def mean_iou(model: Pose2Seg, images: Sequence[PersonImage]) -> Mapping[str, float]:
    """The mean IoU of everybody's predicted mask with the annotated one."""
    ious: list[float] = []
    for image in images:
        (masks,) = model.predict([image.read()], [image.keypoints])
        predicted, annotated = masks.cpu().numpy(), image.masks.astype(bool)
        common = (predicted & annotated).sum((1, 2))
        ious += (common / (predicted | annotated).sum((1, 2))).tolist()
    return {"mean_iou": float(np.mean(ious))}
