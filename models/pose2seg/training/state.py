"""The file with the state of a training run, from which the run can resume."""

import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose2seg.common.errors import InputError
from pose2seg.common.files import atomic_writer
from pose2seg.common.text import shown
from pose2seg.data.dataset import PersonImage
from pose2seg.training.recipe import Recipe

#: What messages call the numbers in `describe_data`.
_COUNTS = {"image_count": "the number of images", "person_count": "the number of people"}
_CHECKSUMS = {
    "images_checksum": "the images",
    "validation_checksum": "the validation images",
    "templates_checksum": "the templates",
}


def describe_data(
    images: Sequence[PersonImage], validation: Sequence[PersonImage], templates: Tensor
) -> dict[str, int]:
    """Returns counts and checksums that identify the data of a training run."""
    return {
        "image_count": len(images),
        "person_count": sum(len(image.people) for image in images),
        "images_checksum": _checksum(images),
        "validation_checksum": _checksum(validation),
        "templates_checksum": zlib.crc32(templates.cpu().numpy().tobytes()),
    }


def _checksum(images: Sequence[PersonImage]) -> int:
    """Returns a CRC-32 of the people in the images, and of the names and sizes of the image files.

    The folder of the files is not included, nor is their content, which would take too long to read.
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
    """Writes a state, which atomically replaces the previous one.

    data: the result of `describe_data`.
    """
    content = {"state": state, "recipe": json.dumps(asdict(recipe)), "data": data}
    buffer = io.BytesIO()  # if torch cannot write to a file, its error does not say why
    torch.save(content, buffer)
    with atomic_writer(path) as file:
        file.write(buffer.getbuffer())


def load_state(path: Path, recipe: Recipe, data: dict[str, int]) -> dict[str, Any]:
    """Returns the state in a file, on the CPU.

    Raises InputError if the file was not written by `save_state`, or if it was written with other data or a
    recipe that differs in more than the number of epochs.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state: dict[str, Any] = content["state"]
        saved = json.loads(content["recipe"]) | content["data"]
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path}: not the state of a training run") from error
    expected = json.loads(json.dumps(asdict(recipe))) | data
    del expected["epochs"]
    for name, value in expected.items():
        if saved.get(name) != value:
            raise InputError(f"{path}: {_describe_change(name, saved.get(name), value)} since it was written")
    return state


def _describe_change(name: str, saved: Any, now: Any) -> str:
    if name in _CHECKSUMS:
        return f"{_CHECKSUMS[name]} have changed"
    return f"{_COUNTS.get(name, name)} has changed from {shown(saved)} to {shown(now)}"
