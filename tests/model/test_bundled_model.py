"""Tests that the model of the package has the size and the scores in docs/model_card.md."""

import re

import numpy as np
import pytest
import torch
from paths import ROOT
from pose2seg import BUNDLED_WEIGHTS, load_model, load_templates
from pose2seg.evaluation.evaluate import Evaluation, evaluate
from shared_data import real_images

CARD = (ROOT / "docs" / "model_card.md").read_text()


def test_it_is_small() -> None:
    parameters, size = sum(each.numel() for each in load_model().parameters()), BUNDLED_WEIGHTS.stat().st_size
    assert parameters <= 4_000_000
    assert size <= 8_000_000
    assert f"| parameters | {parameters:,} |" in CARD
    assert f"| file | {size:,} bytes," in CARD


def test_its_templates_are_those_of_the_package() -> None:
    assert torch.equal(load_model().templates, load_templates())


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Returns the evaluation of 447 people in 100 images on which the model was not trained."""
    return evaluate(load_model(), real_images())


def test_its_scores_are_those_of_the_model_card(evaluation: Evaluation) -> None:
    assert sum(len(row.image.people) for row in evaluation.images) == 447
    (row,) = re.findall(r"^\| \*\*small model\*\* \|(.*)\|$", CARD, re.MULTILINE)
    documented = [float(cell) for cell in row.split("|")]
    names = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "mean_iou")
    assert [evaluation.scores[name] for name in names] == pytest.approx(documented, abs=0.005)
    assert evaluation.precision.ap >= 0.36
    assert evaluation.mean_iou >= 0.70


def test_the_quality_of_a_mask_ranks_masks_by_their_iou(evaluation: Evaluation) -> None:
    quality = np.array([each for row in evaluation.images for each in row.qualities])
    ious = np.array([each for row in evaluation.images for each in row.ious])
    assert np.cov(quality, ious)[0, 1] / (quality.std() * ious.std()) >= 0.65
    is_better = quality >= np.median(quality)
    assert ious[is_better].mean() >= ious[~is_better].mean() + 0.1
