"""Non-maximum suppression."""

import numpy as np
import numpy.typing as npt


def suppress(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], iou_threshold: float
) -> npt.NDArray[np.int64]:
    """Returns the indices of the boxes that are kept, those with the highest scores first.

    A box is dropped if it has an IoU above `iou_threshold` with a kept box of a higher score.

    boxes: (n, 4) left, top, right and bottom.
    scores: (n,).
    """
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(order):
        first, others = order[0], order[1:]
        kept.append(first)
        upper_left = np.maximum(boxes[first, :2], boxes[others, :2])
        lower_right = np.minimum(boxes[first, 2:], boxes[others, 2:])
        common = np.clip(lower_right - upper_left, 0, None).prod(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # raised by boxes without an area
            overlap = common / (areas[first] + areas[others] - common)
        order = others[~(overlap > iou_threshold)]
    return np.array(kept, np.int64)
