"""Masks as PNG files: one for each person, or one for each image, whose values are the people."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose2seg.common.errors import InputError
from pose2seg.common.images import write_indexed_png, write_png
from pose2seg.data.annotated_masks import DecodedMasks
from pose2seg.data.posed_images import PosedImage
from pose2seg.prediction.drawing import colour_numbers, person_colour
from pose2seg.prediction.loop import Masks
from pose2seg.prediction.outputs.image_files import OneFileAnImage, OneFileAPerson

_MOST_PEOPLE = 255  # in 8 bits, besides the background


class PersonMasks(OneFileAPerson):
    """Masks NAME_1.png, NAME_2.png, ... of each person, of the image's size: 255 inside and 0 outside."""

    option = "masks"
    names = "mask", "masks"

    def write_person(self, predicted: Masks[PosedImage], person: int, path: Path) -> None:
        """See `OneFileAPerson`."""
        write_png(path, 255 * DecodedMasks(predicted.masks)[person].astype(np.uint8))


class IndexedMasks(OneFileAnImage):
    """Masks NAME.png of each image, 8 bits with a palette: 0 is the background, and k is the k-th person.

    If masks overlap, the pixel belongs to the person with the highest score, or to the first of several.
    """

    option = "indexed_masks"
    names = "indexed mask", "indexed masks"
    suffix = ".png"

    def write(self, predicted: Masks[PosedImage]) -> None:
        """See `ImageFiles`. Raises InputError for more than 255 people."""
        image, poses = predicted.content
        path = self.path(predicted.item)
        people = len(poses.people)
        if people > _MOST_PEOPLE:
            raise InputError(f"{path}: an indexed PNG must have at most {_MOST_PEOPLE} people, got {people}")
        indices = np.zeros(image.shape[:2], np.uint8)
        masks = DecodedMasks(predicted.masks)
        for i in sorted(reversed(range(people)), key=lambda i: poses.people[i].score):
            indices[masks[i]] = i + 1
        write_indexed_png(path, indices, _palette(colour_numbers(poses.people)))


def _palette(numbers: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Returns a palette, (1 + people, 3) RGB: black, and the colours of the overlays."""
    colours = [person_colour(number)[::-1] for number in numbers]
    return np.array([(0, 0, 0), *colours], np.uint8)
