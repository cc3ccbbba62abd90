"""From a photograph to masks, in a model of the original's size with random weights."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from pose2seg.inference import for_inference
from pose2seg.model import INPUT_SIZE, Pose2Seg
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import original
from benchmarks.contest import FLOOR, OURS, REFERENCE, Contest, overlap_at_least
from benchmarks.inputs import ROI, model, name_of, photographs_with_people, templates

_PEOPLE = 8


def _inputs(device):
    """A model, and made ready in float32 and bfloat16; a photograph, and the poses of 8 people in it."""
    trained = model().to(device)
    models = [trained, for_inference(trained), for_inference(trained, torch.bfloat16)]
    (photograph,), (keypoints,) = photographs_with_people(1, _PEOPLE)
    return models, photograph.to(device), keypoints.to(device)


def _ours(which):
    def run(models, photograph, keypoints):
        return models[which].predict([photograph], [keypoints])

    return run


def _original(models, photograph, keypoints):
    return original.predict(models[0], photograph, keypoints)


def _products(dtype):
    """As many multiplications as the network has, in matrix products of the size that does most a second."""
    side = 2048

    def run(models, photograph, keypoints):
        factor = torch.ones(side, side, dtype=dtype, device=models[0].templates.device)
        for _ in range(round(_operations() / (2 * side**3))):
            torch.mm(factor, factor)

    return run


@cache
def _operations() -> int:
    """Of backbone and head for all people, two for each multiplication."""
    model = Pose2Seg(templates()).to("meta")
    with FlopCounterMode(display=False) as counter:
        model.backbone(torch.empty(1, 3, INPUT_SIZE, INPUT_SIZE, device="meta"))
        model.segnet(torch.empty(_PEOPLE, model.segnet.conv1.in_channels, *ROI, device="meta"))
    return counter.get_total_flops()


def _contest(dtype, which, bar, overlap):
    contenders: dict[str, Callable[..., Any]] = {
        OURS: _ours(which),
        REFERENCE: _original,
        FLOOR: _products(dtype),
    }
    return Contest(
        "Pose2Seg.predict",
        f"{_PEOPLE} people, {name_of(dtype)}",
        _inputs,
        contenders,
        {REFERENCE: bar},
        agree=overlap_at_least(overlap),
        limit="what remains are the network's multiplications, which take the floor's time at the least.",
    )


CONTESTS = [_contest(torch.float32, 1, 1.6, 0.995), _contest(torch.bfloat16, 2, 6, 0.98)]


def test_model(race, contest, contender):
    race(contest, contender)
