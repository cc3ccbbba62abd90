"""The file that holds the state of a training, so that it can go on."""

import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pose2seg.dataset import PersonImage
from pose2seg.errors import InputError
from pose2seg.files import atomic_writer
from pose2seg.training.recipe import Recipe


def data_checksum(images: Sequence[PersonImage]) -> int:
    """CRC-32 of what tells images from others: their people, and the names and sizes of their files.

    What is in the files is not read, which would take too long, and where they are does not matter.
    """
    crc = 0
    for image in images:
        boxes = [person.box for person in image.people]
        described = [image.path.name, image.size, image.version and image.version[0], boxes]
        crc = zlib.crc32(json.dumps(described).encode(), crc)
        for person in image.people:
            crc = zlib.crc32(person.keypoints.tobytes(), crc)
            crc = zlib.crc32(person.segmentation["counts"], crc)
    return crc


def save_state(path: Path, state: dict[str, Any], recipe: Recipe, data: dict[str, int]) -> None:
    """Write a state, which then replaces the last one, whole.

    data: numbers that tell the data of the training from others.
    """
    content = {"state": state, "recipe": json.dumps(asdict(recipe)), "data": data}
    buffer = io.BytesIO()  # torch, where it writes to a file, does not tell why it cannot
    torch.save(content, buffer)
    with atomic_writer(path) as file:
        file.write(buffer.getbuffer())


def load_state(path: Path, recipe: Recipe, data: dict[str, int]) -> dict[str, Any]:
    """The state in a file, on the CPU.

    Raises InputError if the file is none of `save_state`, or one of another recipe or other data.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state: dict[str, Any] = content["state"]
        saved = json.loads(content["recipe"]) | content["data"]
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path}: not the state of a training") from error
    expected = json.loads(json.dumps(asdict(recipe))) | data
    for name, value in expected.items():
        if saved.get(name) != value:
            raise InputError(f"{path}: is of a training with {name} {saved.get(name)}, not {value}")
    return state
