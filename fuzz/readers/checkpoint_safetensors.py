"""Fuzzes the reader of models of this package: a length, a JSON header, and numbers."""

from pathlib import Path

import atheris
from fuzzing import fuzz, mutate_json
from pose2seg.network.checkpoint import load_model


def read(path: Path) -> None:
    load_model(path)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Mutates mostly the header, if there is one, so that its length still fits."""
    end = 8 + int.from_bytes(data[:8], "little")
    if seed % 8 == 0 or not 8 < end <= len(data):
        return atheris.Mutate(data, most)
    header = mutate_json(data[8:end], most - len(data) + end - 8, seed)
    return len(header).to_bytes(8, "little") + header + data[end:]


fuzz(read, "model.safetensors", mutate)
