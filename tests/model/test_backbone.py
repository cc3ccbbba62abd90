import json

import torch
from golden import golden_path
from pose2seg.network.encoders.resnet import ResNet
from torch import nn


def test_features_have_a_quarter_of_the_resolution() -> None:
    backbone = ResNet((1, 1, 1, 1), width=4, channels=6)
    assert backbone(torch.rand(2, 3, 64, 96)).shape == (2, 6, 16, 24)


def test_every_parameter_is_used() -> None:
    backbone = ResNet((2, 1, 1, 1), width=4, channels=6)
    backbone(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_finest_level_sums_all_stages_before_it_is_smoothed() -> None:
    backbone = ResNet((1, 1, 1, 1), width=4, channels=1).eval()
    laterals = (backbone.fpn_c1p1, backbone.fpn_c2p2, backbone.fpn_c3p3, backbone.fpn_c4p4)
    for lateral, value in zip(laterals, (1.0, 10.0, 100.0, 1000.0), strict=True):
        lateral.load_state_dict({"weight": torch.zeros_like(lateral.weight), "bias": torch.tensor([value])})
    identity = nn.init.dirac_(torch.empty_like(backbone.fpn_p1.weight))
    backbone.fpn_p1.load_state_dict({"weight": identity, "bias": torch.zeros(1)})
    features = backbone(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(features, torch.full_like(features, 1111.0))


def test_convolutions_and_batch_norms_are_the_official_ones() -> None:
    official = json.loads(golden_path("state_dict_official.json").read_text())
    unused = ("backbone.fpn_p4", "backbone.fpn_p3", "backbone.fpn_p2")
    expected = {
        name.removeprefix("backbone.").replace("conv4", "downsample.0"): description
        for name, description in official["conv_stride_kernel_padding_bias"].items()
        if name.startswith("backbone.") and not name.startswith(unused)
    }
    backbone = ResNet((3, 4, 6, 3), width=64, channels=256)
    found = {
        name: [list(m.stride), list(m.kernel_size), list(m.padding), m.bias is not None]
        for name, m in backbone.named_modules()
        if isinstance(m, nn.Conv2d)
    }
    assert found == expected
    norms = [(m.eps, m.momentum) for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(norms) == {tuple(official["bn_eps_momentum"])}
