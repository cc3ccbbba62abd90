"""Tests under autocast: features keep their dtype, and half-precision geometry is cast to float32."""

from typing import Any

import pytest
import torch
from every_op import OPS, valid_arguments
from small_model import small_model
from test_affine_align_gradient import example

from pose2seg_ops import reference

HALF = (torch.float16, torch.bfloat16)
GEOMETRY = ("matrices", "keypoints", "templates")
GEOMETRIC = [op for op in OPS if any(name in valid_arguments(op) for name in GEOMETRY)]


def halved(arguments: dict[str, Any], dtype: torch.dtype, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Casts the floating-point arguments (or those with these names) to half precision, as autocast does."""
    tensors = [n for n, v in arguments.items() if isinstance(v, torch.Tensor) and v.is_floating_point()]
    return arguments | {name: arguments[name].to(dtype) for name in names or tensors if name in tensors}


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, check_dtype=True)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_float32_stays_float32(backend, op, dtype):
    arguments = valid_arguments(op, backend.device)
    expected = getattr(backend, op)(**arguments)
    with torch.autocast(backend.device.type, dtype):
        actual = getattr(backend, op)(**arguments)
    if op.endswith("rle"):
        assert actual == expected
    else:
        assert_same(actual, expected)


@pytest.mark.parametrize("op", GEOMETRIC)
@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_geometry_is_cast_to_float32(backend, op, dtype, compiled):
    if compiled and op == "paste_rle":
        pytest.skip("run lengths are Python data, which a graph cannot return")
    arguments = halved(valid_arguments(op, backend.device), dtype)
    precise = arguments | {n: arguments[n].float() for n in GEOMETRY if n in arguments}
    run = getattr(backend, op)
    expected = run(**precise)
    if compiled:
        run = torch.compile(run, fullgraph=True, backend="aot_eager")
    with torch.autocast(backend.device.type, dtype):
        actual = run(**arguments)
    if op == "paste_rle":
        assert actual == expected
    else:
        assert_same(actual, expected)


@pytest.mark.parametrize("op", GEOMETRIC)
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_geometry_without_autocast_is_refused(backend, op, dtype):
    for name in GEOMETRY:
        arguments = valid_arguments(op, backend.device)
        if name not in arguments:
            continue
        with (
            torch.autocast(backend.device.type, dtype),
            torch.autocast(backend.device.type, enabled=False),
            pytest.raises(TypeError, match=f"^{name} must be float32 .*, got {str(dtype)[6:]}$"),
        ):
            getattr(backend, op)(**halved(arguments, dtype, (name,)))


@pytest.mark.parametrize("op", ["affine_align", "align_with_skeleton"])
def test_float64_data_requires_float64_geometry(backend, op):
    arguments = valid_arguments(op, backend.device, torch.float64)
    arguments["matrices"] = arguments["matrices"].bfloat16()
    with (
        torch.autocast(backend.device.type, torch.bfloat16),
        pytest.raises(TypeError, match="must be float64"),
    ):
        getattr(backend, op)(**arguments)


@pytest.mark.parametrize("op", ["affine_align", "skeleton_maps", "align_with_skeleton"])
def test_gradients_reach_the_layer_that_predicts_the_geometry(backend, op):
    """A linear layer, which autocast runs in bfloat16, computes the geometry; its gradient is as if that were
    exact."""
    arguments = valid_arguments(op, backend.device)
    name = "keypoints" if op == "skeleton_maps" else "matrices"
    layer = torch.nn.Linear(3, 3, bias=False).to(backend.device)
    torch.nn.init.eye_(layer.weight)
    gradients: list[torch.Tensor] = []
    for inside in (True, False):
        with torch.autocast(backend.device.type, torch.bfloat16):
            predicted = layer(arguments[name])
            assert predicted.dtype == torch.bfloat16
            if inside:
                output = getattr(backend, op)(**(arguments | {name: predicted}))
        if not inside:
            output = getattr(backend, op)(**(arguments | {name: predicted.float()}))
        gradients += torch.autograd.grad(output.square().sum(), layer.weight)
    assert_same(*gradients)
    assert gradients[0].dtype == torch.float32
    assert torch.count_nonzero(gradients[0]) > 3


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_features_with_float32_matrices(backend, dtype):
    convolution = torch.nn.Conv2d(5, 8, 1).to(backend.device)
    input, matrices, batch_index = example(dtype=torch.float32, device=backend.device)
    matrices.requires_grad_()
    with torch.autocast(backend.device.type, dtype):
        features = convolution(input)
        output = backend.affine_align(features, matrices, batch_index, (6, 7))
    assert features.dtype == output.dtype == dtype
    output.float().square().sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.dtype == matrices.grad.dtype == torch.float32
    expected = torch.autograd.grad(
        reference.affine_align(features.detach().float(), matrices, batch_index, (6, 7)).square().sum(),
        matrices,
    )[0]
    assert (matrices.grad - expected).abs().max() < 2e-2 * expected.abs().max()


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_the_model_runs_in_half_precision_and_keeps_its_matrices(backend, dtype):
    torch.manual_seed(0)
    templates = torch.rand(2, 17, 3) + torch.tensor([0, 0, 1])
    model = small_model(templates).to(backend.device).eval()
    keypoints = templates[[0, 1, 0]] * torch.tensor([40, 40, 1]) + torch.tensor([10, 10, 0])
    tensors = torch.rand(2, 3, 64, 64), keypoints, torch.tensor([0, 1, 1])
    arguments = [tensor.to(backend.device) for tensor in tensors]
    with torch.inference_mode():
        expected = model(*arguments)
        with torch.autocast(backend.device.type, dtype):
            actual = model(*arguments)
    assert actual.logits.dtype == dtype
    assert_same(actual.matrices, expected.matrices)
    scale = expected.logits.abs().max()
    assert (actual.logits - expected.logits).abs().max() <= 32 * torch.finfo(dtype).eps * scale
