"""Tests of training on image crops, as parts of the frame of a prediction."""

from dataclasses import replace

import pytest
import torch
from pose2seg.network.backbone import Backbone
from pose2seg.network.model import INPUT_SIZE
from pose2seg.training import PRESETS, Augmentation, Crop, Recipe, make_model
from pose2seg.training.trainer import Trainer
from tiny_training import TEMPLATES, TINY
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")


class Patches(Backbone):
    """A backbone whose features depend only on their own 4 x 4 pixels, and are 0 for pixels of 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 4, stride=4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.convolution(images)


def test_a_crop_gives_the_result_of_the_whole_frame() -> None:
    crops_of_people = replace(TINY.augmentation, input=Crop())
    recipe = replace(TINY, augmentation=crops_of_people, input_size=96)
    model = make_model(recipe, TEMPLATES)
    model.backbone = Patches(TINY.architecture.channels)
    network = Trainer(model, recipe, 1, torch.device("cpu"))._network.eval()
    crops = torch.randn(2, 3, 96, 96)
    corner = (120, 64)  # x, y
    frames = torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)
    frames[:, :, 64:160, 120:216] = crops
    positions = torch.rand(5, 17, 2) * 96 + torch.tensor(corner)
    keypoints = torch.cat([positions, torch.full((5, 17, 1), 2.0)], -1)
    keypoints[4, 2:] = 0  # too few joints: the crop shows the whole frame
    batch_index = torch.tensor([0, 1, 0, 1, 1])
    unmoved = torch.eye(2, 3).repeat(5, 1, 1)
    with torch.no_grad():
        logits, matrices = network(crops, corner, keypoints, batch_index, unmoved)
        expected = model(frames, keypoints, batch_index, unmoved)
    torch.testing.assert_close(matrices, expected.matrices, rtol=0, atol=0)
    torch.testing.assert_close(logits, expected.logits, rtol=1e-5, atol=1e-5)


def test_crops_are_everywhere_in_the_frame() -> None:
    recipe = Recipe(augmentation=Augmentation(input=Crop()), input_size=320)
    corners = torch.tensor([recipe.draw_corner(step, 4) for step in range(300)])
    assert (corners % 4 == 0).all()
    assert corners.min() < 10
    assert 182 < corners.max() <= 192
    assert recipe.draw_corner(7, 4) == recipe.draw_corner(7, 4)
    assert Recipe(input_size=320).draw_corner(7, 4) == (0, 0)


def test_the_small_recipe_uses_crops_with_pasted_people() -> None:
    recipe = PRESETS["small"]
    assert isinstance(recipe.augmentation.input, Crop)
    assert recipe.augmentation.paste > 0
    assert recipe.input_size < INPUT_SIZE
    parameters = sum(p.numel() for p in make_model(recipe, TEMPLATES).parameters())
    assert parameters <= 4_000_000
