"""The names of COCO's joints in other tools."""

import re

from pose2seg_ops import COCO_KEYPOINTS


def coco_joint(name: str) -> str | None:
    """Returns the COCO joint that a name means, or None for another joint.

    The separators, order and case of the words do not matter, and a side may be its first letter: left_eye is
    also left-eye, "Left Eye", leftEye, LEye, eye.L and l_eye.
    """
    words = [_SIDES.get(word, word) for word in map(str.lower, _WORD.findall(name))]
    return _SPELLINGS.get("".join(words))


# Splits a name into words; REar becomes R and Ear.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W_a-zA-Z]+")

_SIDES = {"l": "left", "r": "right"}

_SPELLINGS = {
    spelling: joint
    for joint in COCO_KEYPOINTS
    for side, _, part in [joint.rpartition("_")]
    for spelling in (side + part, part + side)
}
