"""A model made ready to predict gives the masks of the model."""

import copy

import pytest
import torch
from pose2seg import Architecture, Pose2Seg
from pose2seg.inference import for_inference
from torch import nn

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model() -> Pose2Seg:
    """A small one whose batch norms do something."""
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


def test_the_logits_stay(model):
    ready = for_inference(model)
    with torch.no_grad():
        expected, matrices = model(*arguments())
        logits, ready_matrices = ready(*arguments())
    assert torch.equal(matrices, ready_matrices)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
    assert expected.std() > 0.01


def test_no_batch_norm_is_left_and_the_model_is_as_it_was(model):
    before = copy.deepcopy(model.state_dict())
    ready = for_inference(model.train())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    assert not ready.training
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    weights = [module.weight for module in ready.modules() if isinstance(module, nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_bfloat16_is_close(model):
    ready = for_inference(model, torch.bfloat16)
    with torch.no_grad():
        expected = model(*arguments()).logits
        logits = ready(*arguments(torch.bfloat16)).logits
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - expected).norm() < 0.05 * expected.norm()
