"""Prediction from an image to masks, with a model of the original size and random weights."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from pose2seg.network.inference import for_inference
from pose2seg.network.model import INPUT_SIZE, Pose2Seg
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import original
from benchmarks.case import FLOOR, OURS, REFERENCE, Case, overlap_at_least
from benchmarks.inputs import ROI, images_with_people, model, name_of, templates

_PEOPLE = 8


def _inputs(device):
    """Returns a model and its inference versions in float32 and bfloat16, an image, and the poses of 8 people
    in it."""
    trained = model().to(device)
    models = [trained, for_inference(trained), for_inference(trained, torch.bfloat16)]
    (image,), (keypoints,) = images_with_people(1, _PEOPLE)
    return models, image.to(device), keypoints.to(device)


def _ours(which):
    def run(models, image, keypoints):
        return models[which].predict([image], [keypoints])

    return run


def _original(models, image, keypoints):
    return original.predict(models[0], image, keypoints)


def _products(dtype):
    """Does as many multiplications as the network, in matrix products of the most efficient size."""
    side = 2048

    def run(models, image, keypoints):
        factor = torch.ones(side, side, dtype=dtype, device=models[0].templates.device)
        for _ in range(round(_operations() / (2 * side**3))):
            torch.mm(factor, factor)

    return run


@cache
def _operations() -> int:
    """Returns the floating-point operations of backbone and head for all people, two per multiplication."""
    model = Pose2Seg(templates()).to("meta")
    with FlopCounterMode(display=False) as counter:
        model.backbone(torch.empty(1, 3, INPUT_SIZE, INPUT_SIZE, device="meta"))
        model.segnet(torch.empty(_PEOPLE, model.segnet.conv1.in_channels, *ROI, device="meta"))
    return counter.get_total_flops()


def _case(dtype, which, target, overlap):
    implementations: dict[str, Callable[..., Any]] = {
        OURS: _ours(which),
        REFERENCE: _original,
        FLOOR: _products(dtype),
    }
    return Case(
        "Pose2Seg.predict",
        f"{_PEOPLE} people, {name_of(dtype)}",
        _inputs,
        implementations,
        {REFERENCE: target},
        agree=overlap_at_least(overlap),
        limit="the multiplications of the network alone take at least the time of the floor.",
    )


CASES = [_case(torch.float32, 1, 1.6, 0.995), _case(torch.bfloat16, 2, 6, 0.98)]


def test_model(check_and_time, case, implementation):
    check_and_time(case, implementation)
