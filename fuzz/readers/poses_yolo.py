"""Fuzzes the reader of a YOLO file."""

from pathlib import Path
from random import Random

import atheris
from fuzzing import check_people, fuzz
from pose2seg.data.poses.yolo import read_people


def read(path: Path) -> None:
    check_people(read_people(path, (30, 40)))


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Mutates mostly by replacing a number."""
    random = Random(seed)
    words = data.split(b" ")
    words[random.randrange(len(words))] = random.choice(_NUMBERS)
    changed = b" ".join(words)
    return changed if len(changed) <= most and seed % 4 else atheris.Mutate(data, most)


_NUMBERS = (b"0", b"1", b"2", b"-1", b".5", b"3e38", b"-3e38", b"1e39", b"inf", b"nan", b"1_0", b"\n", b"")

fuzz(read, "image.txt", mutate)
