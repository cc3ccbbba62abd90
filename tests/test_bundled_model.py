"""The model that comes with the package is as small and as good as docs/model_card.md says."""

import re
from pathlib import Path

import pytest
import torch
from pose2seg import BUNDLED_WEIGHTS, load_model, load_templates
from pose2seg.evaluate import evaluate
from shared_data import real_images

CARD = (Path(__file__).resolve().parents[1] / "docs" / "model_card.md").read_text()


def test_it_is_small() -> None:
    parameters, size = sum(each.numel() for each in load_model().parameters()), BUNDLED_WEIGHTS.stat().st_size
    assert parameters <= 4_000_000
    assert size <= 8_000_000
    assert f"| parameters | {parameters:,} |" in CARD
    assert f"| file | {size:,} bytes," in CARD


def test_its_templates_are_those_of_the_package() -> None:
    assert torch.equal(load_model().templates, load_templates())


def test_it_scores_what_the_model_card_says() -> None:
    evaluation = evaluate(load_model(), real_images())
    assert sum(len(row.image.people) for row in evaluation.images) == 447
    (row,) = re.findall(r"^\| \*\*small model\*\* \|(.*)\|$", CARD, re.MULTILINE)
    documented = [float(cell) for cell in row.split("|")]
    names = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "mean_iou")
    assert [evaluation.scores[name] for name in names] == pytest.approx(documented, abs=0.005)
    assert evaluation.precision.ap >= 0.36
    assert evaluation.mean_iou >= 0.70
