"""Trains the baseline of docs/model_card.md that uses only the pose: a network without the image.

python tools/skeleton_only.py TRAIN.json IMAGES --validation VAL.json IMAGES --output FOLDER
"""

import argparse
import dataclasses
from pathlib import Path

import torch
from pose2seg import load_templates
from pose2seg.data.dataset import read_dataset
from pose2seg.evaluation.evaluate import evaluate
from pose2seg.network.backbone import Backbone
from pose2seg.training import PRESETS, make_model, train
from torch import Tensor


class Blank(Backbone):
    """A backbone that ignores the image: its features are 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, images: Tensor) -> Tensor:
        size = len(images), self._channels, images.shape[2] // self.stride, images.shape[3] // self.stride
        return images.new_zeros(size).contiguous(memory_format=torch.channels_last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--validation", nargs=2, type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    recipe = PRESETS[options.preset]
    if options.epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=options.epochs)
    model = make_model(recipe, load_templates())
    model.backbone = Blank(recipe.architecture.channels)
    trained = train(
        model, read_dataset(options.annotations, options.images), recipe, options.output, resume=True
    )
    print(evaluate(trained, read_dataset(*options.validation)).scores)


if __name__ == "__main__":
    main()
