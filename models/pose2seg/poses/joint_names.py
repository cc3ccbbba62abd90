"""COCO's joints as other tools spell them."""

import re

from pose2seg_ops import COCO_KEYPOINTS


def coco_joint(name: str) -> str | None:
    """The joint of COCO that a name means, None for another joint.

    What separates the words of a name does not matter, nor their order and case; a side may be its first
    letter: left_eye is also left-eye, "Left Eye", leftEye, LEye, eye.L and l_eye.
    """
    words = [_SIDES.get(word, word) for word in map(str.lower, _WORD.findall(name))]
    return _SPELLINGS.get("".join(words))


# Of REar these are R and Ear.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W_a-zA-Z]+")

_SIDES = {"l": "left", "r": "right"}

_SPELLINGS = {
    spelling: joint
    for joint in COCO_KEYPOINTS
    for side, _, part in [joint.rpartition("_")]
    for spelling in (side + part, part + side)
}
