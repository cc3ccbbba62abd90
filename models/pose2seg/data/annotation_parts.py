"""Matches joints and masks that some tools write as separate annotations."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pose2seg.common.records import Record
from pose2seg.data.annotated_masks import DecodedMasks
from pose2seg.data.poses.annotations import AnnotatedPerson
from pose2seg_ops import RLE


class AnnotatedMask(NamedTuple):
    """An annotation with a mask.

    image: the id of its image, as text.
    """

    annotation: Record
    image: str
    segmentation: RLE


def join_parts(
    people: Iterable[AnnotatedPerson], masks: Iterable[AnnotatedMask]
) -> list[tuple[AnnotatedPerson, AnnotatedMask]]:
    """Returns the people whose masks can be told with certainty, each with this mask.

    A mask can belong to a person if it contains at least half of the labelled joints. It is certain if no
    other mask can belong to this person, and if the mask cannot belong to anybody else.
    """
    people_of, masks_of = defaultdict(list), defaultdict(list)
    for person in people:
        people_of[person.image].append(person)
    for mask in masks:
        masks_of[mask.image].append(mask)
    joined = []
    for image, there in people_of.items():
        may_be = _held(there, masks_of[image]) >= 0.5
        certain = may_be & (may_be.sum(0) == 1) & (may_be.sum(1, keepdims=True) == 1)
        joined += [(there[i], masks_of[image][j]) for i, j in np.argwhere(certain)]
    return joined


def _held(people: Sequence[AnnotatedPerson], masks: Sequence[AnnotatedMask]) -> npt.NDArray[np.float64]:
    """Returns the share of the labelled joints of each of n people that is in each of m masks, (n, m)."""
    held = np.zeros((len(people), len(masks)))
    for j, mask in enumerate(DecodedMasks([mask.segmentation for mask in masks])):
        last = np.array(mask.shape[::-1]) - 1
        for i, person in enumerate(people):
            labelled = person.keypoints[person.keypoints[:, 2] > 0, :2]
            x, y = np.clip(np.floor(labelled), 0, last).astype(int).T
            held[i, j] = mask[y, x].mean()
    return held
