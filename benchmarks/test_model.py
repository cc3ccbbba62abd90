"""From a photograph to masks, in a model of the original's size with random weights."""

from collections.abc import Callable
from typing import Any

import torch
from pose2seg.inference import for_inference
from pose2seg.model import Pose2Seg

from benchmarks import original
from benchmarks.contest import OURS, REFERENCE, Contest, overlap_at_least
from benchmarks.inputs import IMAGE, people, templates

_PEOPLE = 8


def _inputs(device):
    """A model, and made ready in float32 and bfloat16; a photograph, and the poses of 8 people in it."""
    torch.manual_seed(0)
    model = Pose2Seg(templates()).eval().to(device)
    with torch.no_grad():  # probabilities that differ from pixel to pixel, and are seldom near 0.5
        model.segnet.pred_small.weight *= 50
    models = [model, for_inference(model), for_inference(model, torch.bfloat16)]
    photograph = torch.randint(0, 256, (15, 20, 3), dtype=torch.uint8).repeat_interleave(32, 0)
    photograph = photograph.repeat_interleave(32, 1)
    keypoints = people(_PEOPLE) * torch.tensor([1.5, 3.0, 1.0])
    keypoints[..., 0] += torch.linspace(-20, IMAGE[1] - 180, _PEOPLE)[:, None]
    return models, photograph.to(device), keypoints.to(device)


def _ours(which):
    def run(models, photograph, keypoints):
        return models[which].predict([photograph], [keypoints])

    return run


def _original(models, photograph, keypoints):
    return original.predict(models[0], photograph, keypoints)


def _contest(case, which, bar, overlap):
    contenders: dict[str, Callable[..., Any]] = {OURS: _ours(which), REFERENCE: _original}
    return Contest(
        "Pose2Seg.predict", case, _inputs, contenders, {REFERENCE: bar}, agree=overlap_at_least(overlap)
    )


CONTESTS = [
    _contest(f"{_PEOPLE} people, float32", 1, 1.6, 0.995),
    _contest(f"{_PEOPLE} people, bfloat16", 2, 6, 0.98),
]


def test_model(race, contest, contender):
    race(contest, contender)
