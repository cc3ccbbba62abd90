import json

import pytest
import torch
import torch.nn.functional as F
from golden import golden_path
from pose2seg.seg_module import SegModule
from torch import nn


@pytest.mark.parametrize("people", [0, 1, 3])
def test_logits_have_the_resolution_of_the_rois(people: int) -> None:
    head = SegModule(5, width=4, blocks=2).eval()
    assert head(torch.rand(people, 5, 16, 24)).shape == (people, 2, 16, 24)


def test_every_parameter_is_used() -> None:
    head = SegModule(5, width=4, blocks=2).eval()
    head(torch.rand(2, 5, 16, 16)).square().sum().backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_upsampling_keeps_the_corners(monkeypatch: pytest.MonkeyPatch) -> None:
    """align_corners=True: the corner pixels at half resolution are the corner pixels of the result."""
    head = SegModule(5, width=4, blocks=1).eval()
    upsampled = []
    head.decoder1.register_forward_pre_hook(lambda _, inputs: upsampled.append(inputs[0]))
    coarse = []
    head.layer1.register_forward_hook(lambda _, __, output: coarse.append(output))
    head(torch.rand(1, 5, 16, 16))
    torch.testing.assert_close(upsampled[0][..., ::15, ::15], coarse[0][..., ::7, ::7])
    assert not torch.equal(upsampled[0], F.interpolate(coarse[0], scale_factor=2, mode="bilinear"))


def test_convolutions_are_the_official_ones() -> None:
    official = json.loads(golden_path("state_dict_official.json").read_text())
    expected = {
        name.removeprefix("segnet."): description
        for name, description in official["conv_stride_kernel_padding_bias"].items()
        if name.startswith("segnet.")
    }
    found = {
        name: [list(m.stride), list(m.kernel_size), list(m.padding), m.bias is not None]
        for name, m in SegModule(311).named_modules()
        if isinstance(m, nn.Conv2d)
    }
    assert found == expected
