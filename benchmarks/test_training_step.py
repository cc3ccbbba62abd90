"""A training step of the original size, 4 images and 8 people: the part outside of the network, and the
whole."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pose2seg import load_templates
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.geometry import compose
from pose2seg.network.model import ALIGN_SIZE
from pose2seg.training import PRESETS, make_model
from pose2seg.training.loader import Batch
from pose2seg.training.targets import mask_targets, network_input
from pose2seg.training.trainer import Trainer
from torch import nn

from benchmarks import original
from benchmarks.case import OURS, REFERENCE, WHOLE, Case
from benchmarks.inputs import FEATURES, IMAGE, people

RECIPE = PRESETS["official"]


def make_batch() -> Batch:
    """Returns images of 480 x 640 with two people each."""
    to_input = torch.tensor([[0.8, 0, 0], [0, 0.8, 64]]).repeat(4, 1, 1)
    unmoved = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(8, 1, 1)
    masks = torch.zeros(2, *IMAGE, dtype=torch.uint8)
    masks[:, 40:420, 200:400] = 1
    smooth = nn.functional.interpolate(torch.rand(4, 3, 15, 20) * 255, IMAGE, mode="bilinear").byte()
    return Batch(
        [image.permute(1, 2, 0).contiguous() for image in smooth],
        to_input,
        [masks] * 4,
        people(8) * torch.tensor([4.0, 4, 1]),
        unmoved,
        torch.arange(4).repeat_interleave(2),
        [],
    )


def _ours(model, batch, features, gradient, *_):
    """Computes network input, template fit, windows and skeletons, their gradient, and targets."""
    images = network_input(batch, RECIPE.input_size)
    rois, matrices = model.segment(features, batch.keypoints, batch.batch_index, batch.augmentation)
    targets = mask_targets(batch, matrices)
    return images, torch.autograd.grad(rois, features, gradient)[0], targets


def _original(model, batch, features, gradient, *_):
    """Computes the same in float32, the only precision that it supports."""
    images, to_input = original.letterbox(batch.images, RECIPE.input_size, IMAGENET_MEAN, IMAGENET_STD)
    to_features = torch.tensor([1 / 4, 1 / 4, 1], device=to_input.device)
    poses = batch.keypoints * to_features
    matrices = original.fit_pose_templates(poses, model.templates, FEATURES, ALIGN_SIZE)[0]
    rois = original.align_with_skeleton(features.float(), poses, matrices, batch.batch_index, ALIGN_SIZE)
    to_align = compose(matrices * to_features, to_input[batch.batch_index])
    targets = original.mask_targets(torch.cat(batch.masks), to_align, ALIGN_SIZE)
    return images, torch.autograd.grad(rois, features, gradient.float())[0], targets


def _whole(model, batch, features, gradient, trainer):
    return trainer.step(batch)


def _agree(result, expected):
    """Allows for OpenCV, which rounds to whole grey levels, and for targets that fall on either side of an
    edge."""
    for ours, theirs, tolerance in zip(result, expected, (0.02, 0.05, 1), strict=True):
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=tolerance, atol=tolerance)
    assert (result[2] == expected[2]).float().mean() >= 0.99


def _case(precision):
    dtype = getattr(torch, precision)

    def inputs(device):
        torch.manual_seed(0)
        recipe = replace(RECIPE, precision=precision)
        trainer = Trainer(make_model(recipe, load_templates()), recipe, 1000, device)
        without_network = make_model(recipe, load_templates()).to(device)
        without_network.convention = "integer"  # the convention of `original`
        without_network.segnet = nn.Identity()  # type: ignore[assignment]
        values = torch.randn(4, 256, *FEATURES), torch.randn(8, 311, *ALIGN_SIZE)
        features, gradient = (v.to(device, dtype, memory_format=torch.channels_last) for v in values)
        return without_network, make_batch().to(device), features.requires_grad_(), gradient, trainer

    implementations: dict[str, Callable[..., Any]] = {OURS: _ours, REFERENCE: _original, WHOLE: _whole}
    label = f"4 images, 8 people, {precision}"
    return Case("training without the network", label, inputs, implementations, {WHOLE: 20}, agree=_agree)


CASES = [_case(precision) for precision in ("float32", "bfloat16")]


@pytest.mark.benchmark(min_rounds=2)
def test_training_step(check_and_time, case, implementation):
    """Requires that our part takes at most 5 % of the whole."""
    check_and_time(case, implementation)
