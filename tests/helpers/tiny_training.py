"""Training of a tiny network on drawn people, which takes a second."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pose2seg import Architecture
from pose2seg.data.dataset import PersonImage
from pose2seg.training import Augmentation, Recipe, Similarity, make_model, train

TEMPLATES = torch.ones(1, 17, 3)
TINY = Recipe(
    architecture=Architecture((1, 1, 1, 1), 4, 8, 8, 1),
    epochs=2,
    batch_size=2,
    people=4,
    learning_rate=1e-3,
    average_decay=0.9,
    augmentation=Augmentation(input=Similarity(20, (0.8, 1.2), 0.1), flip=0.5, brightness=0.2),
    input_size=64,
)


def train_tiny(images: Sequence[PersonImage], output: Path, recipe: Recipe = TINY, **options: Any) -> None:
    train(make_model(recipe, TEMPLATES), images, recipe, output, **{"workers": 0, **options})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def assert_same(first: Any, second: Any) -> None:
    """Fails if two structures of tensors are not bitwise equal."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, Mapping):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    else:
        assert first == second


def assert_same_training(first: Path, second: Path) -> None:
    for name in ("losses.csv", "metrics.csv", "recipe.json"):
        assert (first / name).read_text() == (second / name).read_text()
    assert_same(*(torch.load(folder / "state.pt", weights_only=True) for folder in (first, second)))
    for name in ("best.safetensors", "last.safetensors"):
        assert_same(*(safetensors.torch.load_file(folder / name) for folder in (first, second)))
