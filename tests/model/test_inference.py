"""Tests that a model prepared for prediction has the masks of the model."""

import copy

import pytest
import torch
from pose2seg import Architecture, Pose2Seg
from pose2seg.network.inference import fastest_precision, fold_batch_norms, for_inference
from torch import nn

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model() -> Pose2Seg:
    """Returns a small model whose batch norms are not the identity."""
    torch.manual_seed(0)
    templates = torch.rand(2, 17, 3) + torch.tensor([0.0, 0.0, 1.0])
    model = Pose2Seg(templates, Architecture((2, 1, 1, 1), 8, 16, 16, 1)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            numbers = module.state_dict()
            for name, low, high in (("weight", 0.5, 2), ("running_var", 0.5, 2), ("bias", -0.5, 0.5)):
                nn.init.uniform_(numbers[name], low, high)
            nn.init.uniform_(numbers["running_mean"], -0.5, 0.5)
    return model


def arguments(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 128, 128, generator=generator)
    keypoints = torch.rand(3, 17, 3, generator=generator) * torch.tensor([128.0, 128.0, 0.0])
    keypoints[:, :, 2] = 2
    return images.to(dtype), keypoints, torch.tensor([0, 1, 1])


@pytest.mark.parametrize("prepare", [fold_batch_norms, for_inference])
def test_the_logits_are_unchanged(model, prepare):
    ready = prepare(model)
    with torch.no_grad():
        expected, matrices = model(*arguments())
        logits, ready_matrices = ready(*arguments())
    assert torch.equal(matrices, ready_matrices)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
    assert expected.std() > 0.01


@pytest.mark.parametrize("prepare", [fold_batch_norms, for_inference])
def test_no_batch_norm_is_left_and_the_model_is_unchanged(model, prepare):
    before = copy.deepcopy(model.state_dict())
    ready = prepare(model.train())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    assert not ready.training
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_weights_are_channels_last(model):
    convolutions = [m for m in fold_batch_norms(model).modules() if isinstance(m, nn.Conv2d)]
    assert convolutions
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in convolutions)


def test_double_precision_has_no_fused_convolutions_and_is_right(model):
    images, keypoints, batch_index = arguments(torch.float64)
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(images, keypoints.double(), batch_index).logits
        logits = for_inference(model, torch.float64)(images, keypoints.double(), batch_index).logits
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_close(model):
    ready = for_inference(model, torch.bfloat16)
    with torch.no_grad():
        expected = model(*arguments()).logits
        logits = ready(*arguments(torch.bfloat16)).logits
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_the_fastest_precision_is_that_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fastest_precision(torch.device("cpu")) == expected
