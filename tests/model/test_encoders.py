"""Tests of the encoders other than ResNet, whose features must be those of the published networks."""

import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import arguments, decided, require_same
from pose2seg import (
    Architecture,
    InputError,
    Pose2Seg,
    load_encoder_weights,
    load_model,
    load_templates,
    save_checkpoint,
)
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone
from pose2seg.network.encoders import make_backbone
from pose2seg.network.export import Core, export_core, in_standard_operators
from pose2seg.network.inference import for_inference
from torch import Tensor, nn

TEMPLATES = load_templates()
LITE = Architecture(channels=8, head_width=8, head_blocks=1, encoder="efficientnet-lite0")


def lite(name: str) -> Backbone:
    return make_backbone(name, (), 0, 8).eval()


def randomise_statistics(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            numbers = norm.state_dict()
            for name, low, high in (("weight", 0.5, 1.5), ("bias", -0.5, 0.5), ("running_mean", -0.5, 0.5)):
                nn.init.uniform_(numbers[name], low, high)
            nn.init.uniform_(numbers["running_var"], 0.5, 2)


def published(name: str, size: int) -> Any:
    """Returns the published network with random weights, for square images."""
    reading = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed"
    )
    network = reading.EfficientNet.from_name(name, image_size=size).eval()
    randomise_statistics(network)
    return network


def test_a_batch_norm_has_the_published_numbers() -> None:
    norms = [module for module in lite("efficientnet-lite0").modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_every_stage_equals_the_published_one(name: str) -> None:
    network, backbone = published(name, 64), lite(name)
    encoder = {
        ".".join(part.lstrip("_") for part in key.split(".")): tensor
        for key, tensor in network.state_dict().items()
        if not key.startswith(("_conv_head.", "_bn1.", "_fc."))
    }
    missing, unexpected = backbone.load_state_dict(encoder, strict=False)
    assert not unexpected
    assert all(key.startswith("fpn_") for key in missing)
    images = torch.rand(2, 3, 64, 64)
    x = network._swish(network._bn0(network._conv_stem(images)))
    outputs = {}  # the last block of each resolution
    for block in network._blocks:
        x = block(x)
        outputs[x.shape[-1]] = x
    stages = backbone.stages(images)
    for stage, size in zip(stages, (16, 8, 4, 2), strict=True):
        torch.testing.assert_close(stage, outputs[size], rtol=1e-4, atol=1e-5)


def test_published_weights_are_converted_to_our_normalisation(tmp_path: Path) -> None:
    """Compares features away from the border, where the padding has another colour."""
    network, backbone = published("efficientnet-lite0", 64), lite("efficientnet-lite0")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    load_encoder_weights(backbone, tmp_path / "weights.pth")
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(each)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
    expected = network._bn0(network._conv_stem((255 * images - 127) / 128))
    found = backbone.get_submodule("bn0")(backbone.get_submodule("conv_stem")((images - mean) / std))
    torch.testing.assert_close(found[..., :-1, :-1], expected[..., :-1, :-1], rtol=1e-4, atol=1e-5)


def test_every_parameter_is_used() -> None:
    backbone = lite("efficientnet-lite0").train()
    backbone(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    torch.manual_seed(0)
    model = Pose2Seg(TEMPLATES, LITE).eval()
    randomise_statistics(model)
    return model


def test_a_checkpoint_names_its_encoder(model: Pose2Seg, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.architecture == LITE
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("encoder", ["resnet", "efficientnet-lite9", "timm:hf-hub:a/b", 3, None, "timm:"])
def test_an_encoder_that_does_not_fit_the_weights_is_rejected(
    model: Pose2Seg, tmp_path: Path, encoder: Any
) -> None:
    changed = Pose2Seg(TEMPLATES, LITE)
    changed.architecture = replace(LITE, encoder=encoder)
    save_checkpoint(changed, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"weights do not fit the model|metadata \"architecture\""):
        load_model(tmp_path / "model.safetensors")


def test_an_unknown_encoder_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"encoder must be one of resnet, .* or timm:NAME, got 'vgg'"):
        Pose2Seg(TEMPLATES, Architecture(encoder="vgg"))


def test_its_batch_norms_are_folded(model: Pose2Seg) -> None:
    ready = for_inference(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, features = model.backbone(images), ready.backbone(images)
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4 * expected.abs().max())


def test_it_is_exported_and_compiled(model: Pose2Seg) -> None:
    model = decided(copy.deepcopy(model))
    standard = in_standard_operators(export_core(model))
    require_same(standard.module()(*arguments(2, 4)), Core(model)(*arguments(2, 4)))
    compiled = torch.compile(model.backbone, fullgraph=True, backend="aot_eager")
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(compiled(images), model.backbone(images))


def encoder_weights(backbone: Backbone) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in backbone.state_dict().items() if not key.startswith("fpn_")}


def test_weights_are_read_from_a_package_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "some_weights" / "models"
    folder.mkdir(parents=True)
    (tmp_path / "some_weights" / "__init__.py").write_text("raise AssertionError")
    trained, backbone = (make_backbone("resnet", (1, 1, 1, 1), 4, 8) for _ in range(2))
    torch.save(encoder_weights(trained), folder / "resnet.pth")
    load_encoder_weights(backbone, "some-weights")
    assert torch.equal(backbone.state_dict()["conv1.weight"], trained.state_dict()["conv1.weight"])
    assert "some_weights" not in sys.modules
    torch.save({}, folder / "another.pth")
    with pytest.raises(InputError, match=r"some-weights: .* got a package with 2 of them"):
        load_encoder_weights(backbone, "some-weights")
    with pytest.raises(InputError, match=r"no-such-weights: must be a file of weights or an .* got neither"):
        load_encoder_weights(backbone, "no-such-weights")


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    backbone = lite("efficientnet-lite0")
    torch.save(encoder_weights(make_backbone("resnet", (1, 1, 1, 1), 4, 8)), tmp_path / "resnet.pth")
    with pytest.raises(InputError, match=r"resnet.pth: weights do not fit the model: \d+ missing"):
        load_encoder_weights(backbone, tmp_path / "resnet.pth")


def test_without_timm_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        InputError, match=r"timm cannot be imported .*torchvision.* pip install 'pose2seg_ops\[encoders\]'"
    ):
        make_backbone("timm:resnet18", (), 0, 8)


def test_an_encoder_of_timm(tmp_path: Path) -> None:
    """Loads weights by the names of timm's classifier; batch norms with activations are not folded."""
    timm = pytest.importorskip(
        "timm", reason="timm cannot be imported (it needs torchvision)", exc_type=ImportError
    )
    torch.manual_seed(0)
    classifier = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    architecture = replace(LITE, encoder="timm:tf_efficientnet_lite0")
    model = Pose2Seg(TEMPLATES, architecture).eval()
    load_encoder_weights(model.backbone, tmp_path / "weights.pth")
    images = torch.randn(1, 3, 64, 64)
    stages = model.backbone.stages(images)
    expected = classifier.forward_intermediates(images, intermediates_only=True)
    for stage, theirs in zip(stages, expected[1:], strict=True):
        torch.testing.assert_close(stage, theirs)
    ready = for_inference(model)
    torch.testing.assert_close(ready.backbone(images), model.backbone(images), rtol=1e-4, atol=1e-4)
    save_checkpoint(model, tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").architecture == architecture
    with pytest.raises(InputError, match="timm:no_such_net: timm cannot make it"):
        make_backbone("timm:no_such_net", (), 0, 8)
    with pytest.raises(InputError, match="must have features of strides 4, 8, 16 and 32"):
        make_backbone("timm:vit_tiny_patch16_224", (), 0, 8)
