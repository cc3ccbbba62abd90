import json

import pytest
import torch
import torch.nn.functional as F
from golden import golden_path
from pose2seg.network.bottleneck import Bottleneck
from pose2seg.network.seg_module import SegModule, UpsamplingBottleneck
from torch import nn


@pytest.mark.parametrize("people", [0, 1, 3])
def test_logits_have_the_resolution_of_the_rois(people: int) -> None:
    head = SegModule(5, width=4, blocks=2).eval()
    assert head(torch.rand(people, 5, 16, 24)).shape == (people, 2, 16, 24)


def test_every_parameter_is_used() -> None:
    head = SegModule(5, width=32, blocks=2).eval()  # wide enough that no ReLU is zero everywhere
    head(torch.rand(2, 5, 16, 16)).square().sum().backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("training", [False, True])
def test_upsampling_after_the_convolutions_equals_upsampling_before_them(training: bool) -> None:
    """The official head has a bottleneck after an interpolation with align_corners=True."""
    ours = UpsamplingBottleneck(6, 4, bias=True).double().train(training)
    official = Bottleneck(6, 4, bias=True).double().train(training)
    official.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 8, 12, dtype=torch.float64)
    upsampled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    torch.testing.assert_close(ours(x), official(upsampled))
    for (name, value), expected in zip(ours.named_buffers(), official.buffers(), strict=True):
        torch.testing.assert_close(value, expected, msg=name)  # the statistics of the batch norms


def test_convolutions_are_the_official_ones() -> None:
    official = json.loads(golden_path("state_dict_official.json").read_text())
    expected = {
        name.removeprefix("segnet."): description
        for name, description in official["conv_stride_kernel_padding_bias"].items()
        if name.startswith("segnet.")
    }
    found = {
        name: [list(m.stride), list(m.kernel_size), list(m.padding), m.bias is not None]
        for name, m in SegModule(311, width=256, blocks=10).named_modules()
        if isinstance(m, nn.Conv2d)
    }
    assert found == expected
