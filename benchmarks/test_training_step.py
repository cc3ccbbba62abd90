"""A step of training the original's size, 4 images and 8 people; and its part that is no network."""

from dataclasses import replace

import pytest
import torch
from pose2seg import load_templates
from pose2seg.training import PRESETS, make_model
from pose2seg.training.loader import Batch
from pose2seg.training.targets import mask_targets, network_input
from pose2seg.training.trainer import Trainer
from torch import nn

from benchmarks.inputs import people

RECIPE = PRESETS["official"]


def make_batch() -> Batch:
    """Photographs of 480 x 640 with two people each."""
    to_input = torch.tensor([[0.8, 0, 0], [0, 0.8, 64]]).repeat(4, 1, 1)
    unmoved = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(8, 1, 1)
    return Batch(
        list(torch.randint(0, 256, (4, 480, 640, 3), dtype=torch.uint8)),
        to_input,
        list(torch.randint(0, 2, (4, 2, 480, 640), dtype=torch.uint8)),
        people(8) * torch.tensor([4.0, 4, 1]),
        unmoved,
        torch.arange(4).repeat_interleave(2),
        [],
    )


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_without_the_network(benchmark, precision):
    """Network input, template fit, windows and skeletons, their gradients, and targets."""
    model = make_model(RECIPE, load_templates())
    model.segnet = nn.Identity()  # type: ignore[assignment]
    batch = make_batch()
    features = torch.randn(4, 256, 128, 128, dtype=getattr(torch, precision))
    features = features.to(memory_format=torch.channels_last).requires_grad_()
    grad = torch.randn(8, 311, 64, 64, dtype=features.dtype).to(memory_format=torch.channels_last)

    def run() -> None:
        network_input(batch, RECIPE.input_size)
        rois, matrices = model.segment(features, batch.keypoints, batch.batch_index, batch.augmentation)
        mask_targets(batch, matrices)
        rois.backward(grad)

    benchmark(run)


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_whole(benchmark, precision):
    """The step that a training takes."""
    recipe = replace(RECIPE, precision=precision)
    trainer = Trainer(make_model(recipe, load_templates()), recipe, 1000, torch.device("cpu"))
    benchmark.pedantic(trainer.step, args=(make_batch(),), rounds=2, warmup_rounds=1)
