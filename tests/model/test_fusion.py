"""Tests that a fused convolution equals the layers that it replaces."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pose2seg.network.encoders.efficientnet_lite import SamePadded
from pose2seg.network.fusion import FusedConvolution, can_fuse, fuse_convolutions
from torch import Tensor, nn

Forward = Callable[[Any, Tensor], Tensor]

CASES: dict[str, tuple[Forward, int]] = {  # and the remaining operations besides convolutions
    "alone": (lambda m, x: m.first(x), 0),
    "relu": (lambda m, x: F.relu(m.first(x), inplace=True), 0),
    "relu6": (lambda m, x: F.relu6(m.first(x), inplace=True), 0),
    "residual": (lambda m, x: F.relu(m.first(x) + x, inplace=True), 0),
    "residual on the left": (lambda m, x: x + m.first(x), 0),
    "shortcut": (lambda m, x: F.relu(m.first(x) + m.second(x)), 0),
    "relu6 of a sum": (lambda m, x: F.relu6(m.first(x) + x), 1),
    "in a row": (lambda m, x: m.second(F.relu(m.first(x))) + x, 0),
    "identity": (lambda m, x: F.relu(m.norm(m.first(x))), 0),
    "doubled": (lambda m, x: (lambda y: y + y)(m.first(x)), 1),
    "used twice": (lambda m, x: (lambda y: F.relu(y) + y)(m.first(x)), 2),
    "another activation": (lambda m, x: torch.sigmoid(m.first(x)), 1),
    "activation before": (lambda m, x: m.first(F.relu(x)), 1),
}


class Layers(nn.Module):
    def __init__(self, function: Forward, first: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.norm = first, nn.Conv2d(16, 16, 1), nn.Identity()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def layers(function: Forward, dtype: torch.dtype, first: nn.Module | None = None) -> Layers:
    torch.manual_seed(0)
    made = Layers(function, first or nn.Conv2d(16, 16, 3, padding=1)).eval().requires_grad_(False)
    return made.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


def images(dtype: torch.dtype) -> Tensor:
    made = torch.randn(2, 16, 13, 10, generator=torch.Generator().manual_seed(0)) * 3
    return made.to(dtype).contiguous(memory_format=torch.channels_last)


def require_fusion(dtype: torch.dtype) -> None:
    if not can_fuse(torch.empty(0, dtype=dtype)):
        pytest.skip(f"oneDNN computes no convolutions in {dtype} on this processor")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", CASES)
def test_results_stay(case: str, dtype: torch.dtype) -> None:
    require_fusion(dtype)
    function, remaining = CASES[case]
    module = layers(function, dtype)
    expected = copy.deepcopy(module).float()(images(dtype).float())
    fused = fuse_convolutions(module)
    result = fused(images(dtype))
    assert result.dtype == dtype
    error = (result.float() - expected).norm() / expected.norm()
    assert error <= {torch.float32: 1e-6, torch.bfloat16: 6e-3, torch.float16: 8e-4}[dtype]
    operations = [node for node in fused.graph.nodes if node.op == "call_function"]
    assert len(operations) == remaining
    called = [fused.get_submodule(node.target) for node in fused.graph.nodes if node.op == "call_module"]
    assert called
    assert all(isinstance(layer, FusedConvolution) for layer in called)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(16, 32, 7, stride=2, padding=3, bias=False),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16),
        SamePadded(16, 32, 3, 2),
        SamePadded(16, 16, 5, 2, groups=16),
        SamePadded(16, 16, 5, 1, groups=16),
    ],
    ids=str,
)
def test_every_geometry_is_kept(convolution: nn.Conv2d) -> None:
    module = layers(lambda m, x: F.relu6(m.first(x)), torch.float32, convolution)
    expected = module(images(torch.float32))
    torch.testing.assert_close(fuse_convolutions(module)(images(torch.float32)), expected)
    assert expected.max() > 1


@pytest.mark.parametrize("padding", [{"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}])
def test_other_paddings_are_left(padding: dict[str, Any]) -> None:
    module = layers(CASES["relu"][0], torch.float32, nn.Conv2d(16, 16, 3, **padding))
    expected = module(images(torch.float32))
    fused = fuse_convolutions(module)
    assert not isinstance(fused.first, FusedConvolution)
    torch.testing.assert_close(fused(images(torch.float32)), expected)


def test_sizes_and_layouts_may_change_from_call_to_call() -> None:
    module = layers(CASES["residual"][0], torch.float32)
    x = torch.randn(1, 16, 40, 7)
    expected = module(x), module(x[:, :, ::2])
    fused = fuse_convolutions(module)
    fused(images(torch.float32))
    torch.testing.assert_close((fused(x), fused(x[:, :, ::2])), expected)


def test_dtypes_without_primitives_are_left() -> None:
    assert not can_fuse(torch.empty(0, dtype=torch.float64))
    assert not can_fuse(torch.empty(0, device="meta"))
