"""Helpers for tests of exported models: the code in docs/deploy.md, inputs, and comparison of outputs."""

import re
from typing import Any

import cv2
import numpy as np
import torch
from paths import ROOT
from pose2seg import Pose2Seg, load_templates
from pose2seg.network.export import Core
from pose2seg.network.model import INPUT_SIZE, Convention
from small_model import small_model
from torch import Tensor

DOCUMENT = (ROOT / "docs" / "deploy.md").read_text()
#: Numbers of images and people; the models are exported with 2 and 3.
COUNTS = [(1, 1), (3, 5), (1, 0)]


def code(language: str, containing: str) -> str:
    """Returns the only code block of a language in the document that contains a text."""
    (block,) = (b for b in re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.S) if containing in b)
    return block


def decided_model(convention: Convention) -> Pose2Seg:
    """Returns a small random model whose masks have pixels inside and outside."""
    torch.manual_seed(0)
    model = small_model(load_templates()).eval()
    model.convention = convention
    return decided(model)


def decided(model: Pose2Seg) -> Pose2Seg:
    """Changes the last layer of a random model so that masks have pixels inside and outside."""
    last = model.segnet.pred_small
    assert last.bias is not None
    with torch.no_grad():
        evidence = Core(model)(*arguments(3, 5))[0].logit()
        last.bias[1] -= evidence.mean()
        for parameter in last.parameters():
            parameter.mul_(2 / evidence.std())
    return model


def arguments(images: int, people: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns inputs: blurred noise, and people who fit a template. The last of several has no joint."""
    rng = np.random.default_rng(people)
    noise = rng.integers(0, 256, (images, 16, 16, 3), np.uint8)
    size = (INPUT_SIZE, INPUT_SIZE)
    resized = [cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image in noise]
    templates = load_templates().numpy()
    keypoints = templates[np.arange(people) % len(templates)]
    keypoints[..., :2] = 250 * keypoints[..., :2] + rng.uniform(0, 250, (people, 1, 2))
    keypoints[..., :2] += rng.normal(0, 8, (people, 17, 2))
    keypoints[..., 2] = np.where(keypoints[..., 2] > 0, rng.integers(1, 3, (people, 17)), 0)
    if people > 1:
        keypoints[-1, :, 2] = 0
    return torch.from_numpy(np.stack(resized)), torch.from_numpy(keypoints), torch.arange(people) % images


def require_same(actual: Any, expected: tuple[Tensor, Tensor]) -> None:
    """Fails if probabilities and matrices are not those of the same masks."""
    probabilities, matrices = (torch.as_tensor(output) for output in actual)
    torch.testing.assert_close(matrices, expected[1], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(probabilities, expected[0], rtol=0, atol=1e-3)
    if len(probabilities):
        assert intersection_over_union(probabilities > 0.5, expected[0] > 0.5) >= 0.99


def intersection_over_union(a: Any, b: Any) -> float:
    return float((a & b).sum() / (a | b).sum())
