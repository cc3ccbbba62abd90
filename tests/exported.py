"""What tests of exported models share: the code of docs/deploy.md, inputs, and what the same outputs are."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pose2seg import Pose2Seg, load_templates
from pose2seg.export import Core
from pose2seg.model import INPUT_SIZE, Convention
from small_model import small_model
from torch import Tensor

DOCUMENT = (Path(__file__).parents[1] / "docs" / "deploy.md").read_text()
#: Numbers of images and people; those of the exports themselves are 2 and 3.
COUNTS = [(1, 1), (3, 5), (1, 0)]


def code(language: str, containing: str) -> str:
    """The one piece of code in the document that is meant."""
    (block,) = (b for b in re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.S) if containing in b)
    return block


def decided_model(convention: Convention) -> Pose2Seg:
    """A small random model, its last layer set so that masks have insides and outsides."""
    torch.manual_seed(0)
    model = small_model(load_templates()).eval()
    model.convention = convention
    last = model.segnet.pred_small
    assert last.bias is not None
    with torch.no_grad():
        evidence = Core(model)(*arguments(3, 5))[0].logit()
        last.bias[1] -= evidence.mean()
        for parameter in last.parameters():
            parameter.mul_(2 / evidence.std())
    return model


def arguments(images: int, people: int) -> tuple[Tensor, Tensor, Tensor]:
    """Blurred noise, and people who fit a template, but for the last of several, who has no joint."""
    rng = np.random.default_rng(people)
    noise = rng.integers(0, 256, (images, 16, 16, 3), np.uint8)
    size = (INPUT_SIZE, INPUT_SIZE)
    photographs = [cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image in noise]
    templates = load_templates().numpy()
    keypoints = templates[np.arange(people) % len(templates)]
    keypoints[..., :2] = 250 * keypoints[..., :2] + rng.uniform(0, 250, (people, 1, 2))
    keypoints[..., :2] += rng.normal(0, 8, (people, 17, 2))
    keypoints[..., 2] = np.where(keypoints[..., 2] > 0, rng.integers(1, 3, (people, 17)), 0)
    if people > 1:
        keypoints[-1, :, 2] = 0
    return torch.from_numpy(np.stack(photographs)), torch.from_numpy(keypoints), torch.arange(people) % images


def require_same(actual: Any, expected: tuple[Tensor, Tensor]) -> None:
    """Probabilities and matrices of the same masks."""
    probabilities, matrices = (torch.as_tensor(output) for output in actual)
    torch.testing.assert_close(matrices, expected[1], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(probabilities, expected[0], rtol=0, atol=1e-3)
    if len(probabilities):
        assert intersection_over_union(probabilities > 0.5, expected[0] > 0.5) >= 0.99


def intersection_over_union(a: Any, b: Any) -> float:
    return float((a & b).sum() / (a | b).sum())
