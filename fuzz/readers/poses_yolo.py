"""YOLO's file for an image."""

from pathlib import Path
from random import Random

import atheris
import numpy as np
from fuzzing import check_people, fuzz
from pose2seg.files import write_png
from pose2seg.poses.yolo import read_people


def read(path: Path) -> None:
    image = path.with_name("photograph.png")
    if not image.exists():
        write_png(image, np.zeros((30, 40, 3), np.uint8))
    check_people(read_people(path, image))


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Mostly another number."""
    random = Random(seed)
    words = data.split(b" ")
    words[random.randrange(len(words))] = random.choice(_NUMBERS)
    changed = b" ".join(words)
    return changed if len(changed) <= most and seed % 4 else atheris.Mutate(data, most)


_NUMBERS = (b"0", b"1", b"2", b"-1", b".5", b"3e38", b"-3e38", b"1e39", b"inf", b"nan", b"1_0", b"\n", b"")

fuzz(read, "photograph.txt", mutate)
