"""Tests of the steps of a training, and of the recipes."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from people import draw_dataset
from pose2seg import Architecture
from pose2seg.common.choices import Precision
from pose2seg.data.dataset import PersonImage
from pose2seg.network.geometry import compose
from pose2seg.training import PRESETS, Augmentation, OriginalSimilarity, Recipe, make_model
from pose2seg.training.loader import Batch, BatchSampler, make_loader
from pose2seg.training.loss import person_losses
from pose2seg.training.targets import mask_targets, network_input
from pose2seg.training.trainer import Trainer
from tiny_training import TEMPLATES, TINY, rows, train_tiny

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def images(tmp_path: Path) -> list[PersonImage]:
    (tmp_path / "images").mkdir()
    return draw_dataset(tmp_path / "images", (1, 2, 3, 1, 2))


def batches(images: Sequence[PersonImage], recipe: Recipe) -> list[Batch]:
    sampler = BatchSampler([len(image.people) for image in images], recipe)
    return list(make_loader(images, recipe, sampler, workers=0, device=CPU))


def trainer(recipe: Recipe) -> Trainer:
    return Trainer(make_model(recipe, TEMPLATES), recipe, 3, CPU)


def test_the_official_recipe_is_that_of_the_original() -> None:
    recipe, epoch = PRESETS["official"], 14150
    assert (recipe.architecture, recipe.epochs, recipe.batch_size, recipe.people) == (
        Architecture(),
        25,
        4,
        8,
    )
    expected = {
        0: 2e-4 / 3,
        500: 2e-4 * 2 / 3,
        1000: 2e-4,
        15 * epoch - 1: 2e-4,
        15 * epoch: 2e-5,
        20 * epoch: 2e-6,
        25 * epoch - 1: 2e-6,
    }
    for step, rate in expected.items():
        assert recipe.learning_rate_at(step, epoch) == pytest.approx(rate)
    assert recipe.augmentation == Augmentation(align=OriginalSimilarity(30, (0.8, 1.2), 0.1))
    assert (recipe.optimizer, recipe.gradient_clip, recipe.average_decay) == ("adam", None, None)


@pytest.mark.parametrize(
    ("preset", "scale", "shift"),
    [("small", 1.1411542257249387, 3.823101347733168), ("modern", 1.2180143874990426, 1.6876289530433795)],
)
def test_random_numbers_do_not_change_between_releases(preset: str, scale: float, shift: float) -> None:
    matrix = PRESETS[preset].augmentation.align.draw(np.random.default_rng(7), (64, 64))
    assert (matrix[0, 0], matrix[0, 2]) == pytest.approx((scale, shift), rel=1e-12)


def test_a_cosine_rises_and_falls_to_zero() -> None:
    recipe = Recipe(schedule="cosine", learning_rate=1, epochs=10, warmup_steps=20)
    rates = [recipe.learning_rate_at(step, 30) for step in range(301)]
    assert rates[0] == pytest.approx(1 / 3)
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[150] == pytest.approx(0.5)
    assert rates[300] == pytest.approx(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be above 0, got 0"),
        ({"batch_size": 0}, "batch_size must be above 0, got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
        ({"batch_size": 9}, "people must be at least batch_size, 9, for one of each image, got 8"),
        ({"encoder_rate": -0.5}, "encoder_rate must be at least 0, got -0.5"),
        ({"frozen_stages": 5}, "frozen_stages must be from 0 to 4, got 5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_impossible_recipes_are_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Recipe(), **changes)


def test_the_loss_is_the_mean_over_all_people(images: list[PersonImage]) -> None:
    recipe = replace(TINY, average_decay=None)
    batch = batches(images, recipe)[0]
    model = make_model(recipe, TEMPLATES)
    logits, matrices = model(network_input(batch, 64), batch.keypoints, batch.batch_index, batch.augmentation)
    assert len(logits) > 1
    expected = F.cross_entropy(logits, mask_targets(batch, matrices))
    torch.testing.assert_close(trainer(recipe).step(batch), expected.detach())


def test_the_iou_of_certain_masks_is_exact() -> None:
    """Compares with numbers counted by hand: 6 and 4 pixels with 2 in common, and two empty masks."""
    predicted, annotated = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    predicted[0, 0, :] = predicted[0, 1, :2] = 1
    annotated[0, 1, :] = 1
    logits = torch.stack([-50 * (2 * predicted - 1), 50 * (2 * predicted - 1)], 1).requires_grad_()
    plain, weighted = (person_losses(logits, annotated, weight) for weight in (0.0, 3.0))
    torch.testing.assert_close(weighted - plain, torch.tensor([3 * (1 - 3 / 9), 0]), rtol=0, atol=1e-5)
    torch.testing.assert_close(plain, torch.tensor([100 * 6 / 16, 0]))


def test_the_augmentation_moves_people_after_the_fit(images: list[PersonImage]) -> None:
    batch = batches(images, TINY)[0]
    model = make_model(TINY, TEMPLATES).eval()
    arguments = network_input(batch, 64), batch.keypoints, batch.batch_index
    plain, moved = model(*arguments), model(*arguments, batch.augmentation)
    torch.testing.assert_close(moved.matrices, compose(batch.augmentation, plain.matrices))
    assert not torch.allclose(moved.logits, plain.logits)


def test_training_learns(images: list[PersonImage], tmp_path: Path) -> None:
    recipe = replace(TINY, epochs=15, learning_rate=5e-3, augmentation=Augmentation(), schedule="cosine")
    train_tiny(images, tmp_path / "run", recipe)
    losses = [float(row["loss"]) for row in rows(tmp_path / "run/losses.csv")]
    assert len(losses) == 45
    assert sum(losses[-9:]) < 0.5 * sum(losses[:9])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_is_close_to_float32(images: list[PersonImage], precision: Any) -> None:
    """Compares the first step: after it, small differences of a gradient become whole steps of Adam."""
    for batch in batches(images, TINY):
        mixed, full = (trainer(replace(TINY, precision=name)) for name in (precision, "float32"))
        loss, expected = mixed.step(batch).item(), full.step(batch).item()
        assert loss == pytest.approx(expected, rel=0.01)
        assert loss != expected
        assert all(p.dtype == torch.float32 for p in mixed.model.parameters())
        assert (mixed.state_dict()["scaler"] != {}) == (precision == "float16")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns(images: list[PersonImage], precision: Any) -> None:
    mixed = trainer(replace(TINY, precision=precision))
    batch = batches(images, TINY)[0]
    losses = [mixed.step(batch).item() for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]


def test_float16_survives_gradients_that_overflow(images: list[PersonImage]) -> None:
    half = trainer(replace(TINY, precision="float16"))
    state = half.state_dict()
    half.load_state_dict(state | {"scaler": state["scaler"] | {"scale": 1e30}})
    before = [p.detach().clone() for p in half.model.parameters()]
    half.step(batches(images, TINY)[0])
    assert all(torch.equal(a, b) for a, b in zip(half.model.parameters(), before, strict=True))
    assert half.state_dict()["scaler"]["scale"] == pytest.approx(5e29)


def test_gradients_are_clipped_together(images: list[PersonImage]) -> None:
    batch = batches(images, TINY)[0]
    free, clipped = (trainer(replace(TINY, gradient_clip=clip)) for clip in (None, 1e-3))
    for t in (free, clipped):
        t.step(batch)
    before = torch.cat([p.grad.flatten() for p in free.model.parameters() if p.grad is not None])
    after = torch.cat([p.grad.flatten() for p in clipped.model.parameters() if p.grad is not None])
    assert before.norm() > 1e-2
    torch.testing.assert_close(after, before * 1e-3 / before.norm(), rtol=1e-3, atol=1e-9)


def keys_that_change(images: list[PersonImage], recipe: Recipe) -> set[str]:
    """Returns the names of the weights and running statistics that two steps change."""
    trained = trainer(recipe)
    before = copy.deepcopy(trained.model.state_dict())
    for batch in batches(images, recipe)[:2]:
        trained.step(batch)
    return {key for key, tensor in trained.model.state_dict().items() if not torch.equal(tensor, before[key])}


@pytest.mark.parametrize(
    ("encoder", "frozen", "trained"),
    [
        ("resnet", ("conv1", "bn1", "layer1", "layer2"), "layer3"),
        ("efficientnet-lite0", ("conv_stem", "bn0", *(f"blocks.{i}" for i in range(5))), "blocks.5"),
    ],
)
def test_frozen_stages_do_not_change(
    images: list[PersonImage], encoder: str, frozen: tuple[str, ...], trained: str
) -> None:
    architecture = replace(TINY.architecture, encoder=encoder)
    changed = keys_that_change(
        images, replace(TINY, architecture=architecture, frozen_stages=2, weight_decay=0.1)
    )
    assert not any(key.startswith(tuple(f"backbone.{name}." for name in frozen)) for key in changed)
    assert any(key.startswith(f"backbone.{trained}.") for key in changed)


def test_a_frozen_encoder_does_not_change(images: list[PersonImage]) -> None:
    """Its weights and running statistics do not change, unlike those of the pyramid and the head."""
    architecture = replace(TINY.architecture, encoder="efficientnet-lite0")
    changed = keys_that_change(
        images, replace(TINY, architecture=architecture, encoder_rate=0.0, weight_decay=0.1)
    )
    assert not any(key.startswith("backbone.") and ".fpn_" not in key for key in changed)
    assert {"backbone.fpn_c1p1.weight", "segnet.conv1.weight"} <= changed


def test_the_encoder_has_its_own_learning_rate(images: list[PersonImage]) -> None:
    """In Adam's first step, every weight changes by its learning rate."""
    shared = trainer(replace(TINY, encoder_rate=0.25, average_decay=None))
    before = copy.deepcopy(shared.model.state_dict())
    shared.step(batches(images, TINY)[0])
    after = shared.model.state_dict()
    rates = {
        key: (after[key] - before[key]).abs().max().item()
        for key in ("backbone.conv1.weight", "backbone.fpn_c1p1.weight", "segnet.conv1.weight")
    }
    expected = TINY.learning_rate
    assert list(rates.values()) == pytest.approx([0.25 * expected, expected, expected], rel=1e-3)


def test_the_average_follows_the_weights(images: list[PersonImage]) -> None:
    followed = trainer(replace(TINY, average_decay=0.15))
    keys = ("segnet.conv1.weight", "backbone.bn1.running_mean")
    expected = {key: followed.model.state_dict()[key].double() for key in keys}
    for step, batch in enumerate(batches(images, TINY)):
        followed.step(batch)
        decay = (0, 0.15, 0.15)[step]
        for key in keys:
            expected[key] = decay * expected[key] + (1 - decay) * followed.model.state_dict()[key].double()
    average = followed.trained.state_dict()
    for key in keys:
        torch.testing.assert_close(average[key].double(), expected[key], rtol=1e-5, atol=1e-7)
    assert average["backbone.bn1.num_batches_tracked"] == 3
    assert trainer(replace(TINY, average_decay=None)).trained.training


def test_weight_decay_excludes_biases_and_batch_norms(images: list[PersonImage]) -> None:
    batch = batches(images, TINY)[0]
    plain, decayed = (trainer(replace(TINY, optimizer="adamw", weight_decay=decay)) for decay in (0.0, 10.0))
    for t in (plain, decayed):
        t.step(batch)
    for (name, p), q in zip(plain.model.named_parameters(), decayed.model.parameters(), strict=True):
        assert torch.equal(p, q) == (p.ndim == 1), name


def test_frozen_batch_norms_keep_their_statistics(images: list[PersonImage]) -> None:
    for batch_norm, stays in (("batch", False), ("frozen", True)):
        model = make_model(TINY, TEMPLATES)
        before = {key: buffer.clone() for key, buffer in model.named_buffers() if "running" in key}
        t = Trainer(model, replace(TINY, batch_norm=batch_norm), 3, CPU)  # type: ignore[arg-type]
        t.step(batches(images, TINY)[0])
        same = [torch.equal(buffer, before[key]) for key, buffer in model.named_buffers() if key in before]
        assert all(same) if stays else not any(same)
        assert model.training


@pytest.mark.parametrize(("has_bfloat16", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_the_precision_that_the_processor_is_fast_in(
    monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, expected: Precision
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bfloat16})
    for preset in ("small", "lite", "fine-tune"):
        assert PRESETS[preset].on(CPU) == replace(PRESETS[preset], precision=expected)
    assert replace(TINY, precision="float16").on(CPU).precision == "float16"


def test_synchronised_batch_norms_need_gpus() -> None:
    with pytest.raises(ValueError, match="synchronised batch norms need GPUs, got cpu"):
        trainer(replace(TINY, batch_norm="synchronised"))
