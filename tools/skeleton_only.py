"""What the pose alone gives: a network that is trained as another, but sees no image.

    python tools/skeleton_only.py TRAIN.json IMAGES --validation VAL.json IMAGES --output FOLDER

The baseline of docs/model_card.md.
"""

import argparse
import dataclasses
from pathlib import Path

import torch
from pose2seg import load_templates
from pose2seg.dataset import read_dataset
from pose2seg.evaluate import evaluate
from pose2seg.training import PRESETS, make_model, train
from torch import Tensor, nn


class Blank(nn.Module):
    """A backbone that sees nothing: features of 0."""

    stride = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 1, 1)  # for `Pose2Seg`, which asks it for dtype and device
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
    model.backbone = Blank(recipe.architecture.channels)  # type: ignore[assignment]
    trained = train(
        model, read_dataset(options.annotations, options.images), recipe, options.output, resume=True
    )
    print(evaluate(trained, read_dataset(*options.validation)).scores)


if __name__ == "__main__":
    main()
