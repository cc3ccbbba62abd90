"""Changes poses to look like those of detectors: with errors, missing and false joints, and without flags."""

import math

import numpy as np
import numpy.typing as npt

_LARGEST_ERROR = 0.06  # standard deviation of a joint's position, divided by the root of the mask's area
_MOST_MISSING = 0.35  # the largest share of missing joints
_MADE_UP = 0.2  # the share of people who get a joint at a random position
# The share of people who keep COCO's flags. For half of the other people, occluded joints become visible; for
# the other half, they are missing.
_FLAGS_KEPT = 0.3

Poses = npt.NDArray[np.float32]
Masks = npt.NDArray[np.uint8]


def as_detected(poses: Poses, masks: Masks, share: float, rng: np.random.Generator) -> Poses:
    """Returns poses (n, 17, 3), some of which are changed to look like those of a detector.

    masks: (n, H, W) the masks of the people.
    share: the probability that a person's pose is changed. A pose keeps at least one joint.
    """
    return np.stack(
        [
            _disturb(pose, mask, rng) if rng.random() < share else pose
            for pose, mask in zip(poses, masks, strict=True)
        ]
    )


def _disturb(pose: npt.NDArray[np.float32], mask: Masks, rng: np.random.Generator) -> Poses:
    size = math.sqrt(mask.sum())
    error = rng.uniform(0, _LARGEST_ERROR) * size
    missing = rng.random(len(pose)) < rng.uniform(0, _MOST_MISSING)
    detected = pose.copy()
    detected[:, :2] += rng.normal(0, error, (len(pose), 2))
    if rng.random() >= _FLAGS_KEPT:
        detected[detected[:, 2] == 1, 2] = rng.choice([0, 2])
    detected[missing] = 0
    detected[detected[:, 2] == 0] = 0
    if rng.random() < _MADE_UP:
        rows, columns = np.nonzero(mask)
        left, right, top, bottom = columns.min(), columns.max(), rows.min(), rows.max()
        place = rng.uniform(left, right), rng.uniform(top, bottom)
        detected[rng.integers(len(pose))] = (*place, 2)
    return detected if detected[:, 2].any() else pose
