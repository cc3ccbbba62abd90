"""The ops under the transforms of torch.func, in forward mode, differentiated twice and checkpointed."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from called_operators import CalledOperators
from every_op import DIFFERENTIABLE, LIMBS, same, valid_arguments
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn.functional import grid_sample
from torch.utils.checkpoint import checkpoint

import pose2seg_ops
from pose2seg_ops import affine_align
from pose2seg_ops.affine_align import PLAIN_MODES
from pose2seg_ops.reference.gather import affine_align_by_gather

#: The arguments of each op that have gradients.
LEAVES = {
    "affine_align": ("input", "matrices"),
    "skeleton_maps": ("keypoints",),
    "align_with_skeleton": ("input", "keypoints", "matrices"),
}
#: The operators that compute these gradients.
BACKWARD = {
    "affine_align": ["affine_align_backward_input", "affine_align_backward_matrices"],
    "skeleton_maps": ["skeleton_maps_backward"],
    "align_with_skeleton": [
        "affine_align_backward_input",
        "skeleton_maps_backward",
        "affine_align_backward_matrices",
    ],
}
PROJECTIVE = torch.tensor([[[1.1, 0.1, 0.3], [-0.2, 0.9, 0.7], [0.01, 0.02, 1]]], dtype=torch.float64)
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("affine_align", {}),
    ("affine_align", {"convention": "half_pixel"}),
    ("affine_align", {"convention": "pose2seg"}),
    ("affine_align", {"sampling_ratio": 2, "padding_mode": "reflection"}),
    ("affine_align", {"convention": "inverse", "interpolation": "bicubic", "padding_mode": "border"}),
    ("affine_align", {"matrices": PROJECTIVE.repeat(3, 1, 1), "padding_mode": "fill", "fill": 0.5}),
    ("skeleton_maps", {}),
    ("skeleton_maps", {"signed_visibility": True, "stride": 2, "sigma": 1.5}),
    ("align_with_skeleton", {}),
]


def as_function(
    ops: Any, op: str, names: tuple[str, ...], arguments: dict[str, Any]
) -> Callable[..., Tensor]:
    """Returns the op as a function of the named arguments alone."""

    def call(*values: Tensor) -> Tensor:
        return getattr(ops, op)(**(arguments | dict(zip(names, values, strict=True))))

    return call


def differentiable_function(
    backend, op: str, options: dict[str, Any]
) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """Returns the op as a function of float64 leaves, and these. It depends on no visibility of a keypoint,
    since a small change of one is a large change of the maps."""
    arguments = valid_arguments(op, backend.device, torch.float64) | options
    visibility = arguments["keypoints"][..., 2:] if "keypoints" in arguments else None

    def call(*leaves: Tensor) -> Tensor:
        changes = dict(zip(LEAVES[op], leaves, strict=True))
        if visibility is not None:
            changes["keypoints"] = torch.cat((changes["keypoints"][..., :2], visibility), -1)
        return getattr(backend, op)(**(arguments | changes))

    return call, [arguments[name].to(backend.device, copy=True).requires_grad_() for name in LEAVES[op]]


def energy(output: Tensor) -> Tensor:
    """A number whose derivatives of all orders depend on every entry of the output."""
    return (output * torch.arange(1.0, output.shape[-1] + 1, device=output.device)).sin().sum()


def energy_of(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *values: energy(call(*values))


def noise(tensor: Tensor, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)


def three_calls(op: str, device: torch.device) -> dict[str, list[Tensor]]:
    """Returns each tensor of the arguments of three calls. Some indices are out of range for their call."""
    calls = {}
    for name, value in valid_arguments(op, device).items():
        if name == "batch_index":
            calls[name] = [torch.tensor(each, device=device) for each in ([1, 0, 1], [2, -1, 0], [0, 5, 1])]
        elif isinstance(value, Tensor):
            calls[name] = [value + 0.05 * noise(value, seed) for seed in range(3)]
    return calls


@pytest.mark.parametrize(("op", "options"), OPTIONS)
def test_gradcheck_in_forward_mode(backend, op, options):
    call, leaves = differentiable_function(backend, op, options)
    assert torch.autograd.gradcheck(
        call,
        leaves,
        fast_mode=True,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )


@pytest.mark.parametrize(("op", "options"), OPTIONS)
def test_gradcheck_of_second_derivatives(backend, op, options):
    call, leaves = differentiable_function(backend, op, options)
    assert torch.autograd.gradgradcheck(
        call, leaves, fast_mode=True, check_fwd_over_rev=True, check_batched_grad=True
    )


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_second_derivatives_in_any_combination_of_modes(backend, op):
    arguments = valid_arguments(op, backend.device, torch.float64)
    name = LEAVES[op][-1]  # matrices or keypoints
    of_leaf = energy_of(as_function(backend, op, (name,), arguments))
    expected = torch.autograd.functional.hessian(of_leaf, arguments[name])
    assert torch.count_nonzero(expected) > 0
    modes: tuple[Any, ...] = jacfwd, jacrev
    for second, first in itertools.product(modes, repeat=2):
        torch.testing.assert_close(second(first(of_leaf))(arguments[name]), expected)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_forward_mode_around_a_gradient(backend, op):
    arguments = valid_arguments(op, backend.device, torch.float64)
    of_leaves = energy_of(as_function(backend, op, LEAVES[op], arguments))
    gradient = grad(of_leaves, tuple(range(len(LEAVES[op]))))
    leaves = tuple(arguments[name] for name in LEAVES[op])
    tangents = tuple(map(noise, leaves))
    expected = jvp(gradient, leaves, tangents)[1]
    with forward_ad.dual_level():
        duals = tuple(map(forward_ad.make_dual, leaves, tangents))
        found = tuple(forward_ad.unpack_dual(each).tangent for each in gradient(*duals))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_third_derivative_is_that_of_the_second(backend, op):
    arguments = valid_arguments(op, backend.device, torch.float64)
    name = LEAVES[op][-1]
    leaf, of_leaf = arguments[name], energy_of(as_function(backend, op, (name,), arguments))
    direction = noise(leaf)

    def product(leaf: Tensor) -> Tensor:
        """The Hessian times the direction."""
        return jvp(grad(of_leaf), (leaf,), (direction,))[1]

    step = 1e-5
    expected = (product(leaf + step * direction) - product(leaf - step * direction)) / (2 * step)
    found = jvp(product, (leaf,), (direction,))[1]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("grad_mode", [torch.enable_grad, torch.no_grad])
def test_a_dual_tensor_has_the_value_of_the_op(backend, op, grad_mode):
    arguments = valid_arguments(op, backend.device)
    call = as_function(backend, op, LEAVES[op], arguments)
    leaves = tuple(arguments[name] for name in LEAVES[op])
    tangents = tuple(map(noise, leaves))
    results: Any = jvp(call, leaves, tangents)
    assert same(results[0], call(*leaves))
    with grad_mode(), forward_ad.dual_level():
        duals = map(forward_ad.make_dual, leaves, tangents)
        assert same(forward_ad.unpack_dual(call(*duals)), results)


def test_a_tangent_of_the_input_is_one_call_of_the_kernel(backend):
    arguments = valid_arguments("affine_align", backend.device)
    call = as_function(backend, "affine_align", ("input",), arguments)
    input, tangent = arguments["input"], noise(arguments["input"])
    with CalledOperators() as called:
        result = jvp(call, (input,), (tangent,))
    assert called.ours() == ["affine_align"] * 2
    assert "aten::floor" not in called.names  # nor does the pure-torch sampling run
    assert same(result, (call(input), call(tangent)))


def test_a_hessian_in_the_input_runs_the_kernels(backend):
    arguments = valid_arguments("affine_align", backend.device, torch.float64)
    call = as_function(backend, "affine_align", ("input",), arguments)
    input, direction = arguments["input"], noise(arguments["input"])

    def half_square(input: Tensor) -> Tensor:
        return call(input).square().sum() / 2

    with CalledOperators() as called:
        product = jvp(grad(half_square), (input,), (direction,))[1]
    assert called.ours() == ["affine_align"] * 2 + ["affine_align_backward_input"] * 2
    # The function is quadratic: its Hessian is the same everywhere.
    leaf = direction.clone().requires_grad_()
    (expected,) = torch.autograd.grad(call(leaf), leaf, call(direction))
    torch.testing.assert_close(product, expected)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_vmap_is_one_call_with_the_bits_of_a_loop(backend, op):
    arguments = valid_arguments(op, backend.device)
    calls = three_calls(op, backend.device)
    call = as_function(backend, op, tuple(calls), arguments)
    for batched in itertools.product((False, True), repeat=len(calls)):
        if not any(batched):
            continue
        in_dims = tuple(i % 2 if is_batched else None for i, is_batched in enumerate(batched))
        values = [
            each[0] if dim is None else torch.stack(each, dim)
            for each, dim in zip(calls.values(), in_dims, strict=True)
        ]
        with CalledOperators() as called:
            result = vmap(call, in_dims, out_dims=1)(*values)
        assert called.ours() == [op]
        members = [
            [each[v if is_batched else 0] for each, is_batched in zip(calls.values(), batched, strict=True)]
            for v in range(3)
        ]
        assert same(result, torch.stack([call(*member) for member in members], 1))


@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("randomness", ["error", "same", "different"])
def test_gradients_per_sample_are_one_call_each_with_the_bits_of_a_loop(backend, op, randomness):
    arguments = valid_arguments(op, backend.device)
    calls = three_calls(op, backend.device)
    argnums = tuple(list(calls).index(name) for name in LEAVES[op])
    gradient = grad(energy_of(as_function(backend, op, tuple(calls), arguments)), argnums)
    values = [torch.stack(each) for each in calls.values()]
    with CalledOperators() as called:
        result = vmap(gradient, randomness=randomness)(*values)
    assert called.ours() == [op, *BACKWARD[op]]
    for v in range(3):
        assert same([each[v] for each in result], gradient(*(value[v] for value in values)))


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_gradients_of_what_all_samples_share(backend, op):
    arguments = valid_arguments(op, backend.device)
    calls = three_calls(op, backend.device)
    shared = LEAVES[op][0]  # input or keypoints; a cotangent for each sample
    call = as_function(backend, op, (shared,), arguments)
    output = call(calls[shared][0])
    cotangents = torch.stack([noise(output, seed) for seed in range(3)])
    pull: Any = torch.func.vjp(call, calls[shared][0])[1]
    with CalledOperators() as called:
        (result,) = vmap(pull)(cotangents)
    assert called.ours() == BACKWARD[op][:1]
    assert same(result, torch.stack([pull(cotangent)[0] for cotangent in cotangents]))


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_nested_vmap_is_one_call(backend, op):
    arguments = valid_arguments(op, backend.device)
    calls = three_calls(op, backend.device)
    names = tuple(calls)
    call = as_function(backend, op, names, arguments)
    inner = [0] + [None] * (len(names) - 1)  # only the first argument, in both batches
    values = [torch.stack(each[:2]) for each in calls.values()]
    values[0] = torch.stack((values[0], 2 * values[0], values[0].flip(0)))
    outer = [0] * len(names)
    values[1:] = [torch.stack(each) for each in list(calls.values())[1:]]
    with CalledOperators() as called:
        result = vmap(vmap(call, tuple(inner)), tuple(outer))(*values)
    assert called.ours() == [op]
    for i, j in itertools.product(range(3), range(2)):
        assert same(result[i, j], call(values[0][i, j], *(value[i] for value in values[1:])))


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_vmap_of_no_instances(backend, op):
    arguments = valid_arguments(op, backend.device)
    per_instance = [name for name in ("keypoints", "matrices", "batch_index") if name in arguments]
    empty = {name: arguments[name][:0] for name in per_instance}
    call = as_function(backend, op, (per_instance[0],), arguments | empty)
    stacked = torch.stack([empty[per_instance[0]]] * 4)
    assert vmap(call)(stacked).shape == (4, *call(stacked[0]).shape)


def test_an_input_that_the_batch_shares_is_not_copied(backend):
    arguments = valid_arguments("affine_align", backend.device)
    seen = []

    class SeenInputs(CalledOperators):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.name().endswith("::affine_align"):
                seen.append(args[0].data_ptr())
            return super().__torch_dispatch__(function, types, args, kwargs)

    with SeenInputs():
        vmap(as_function(backend, "affine_align", ("matrices",), arguments))(arguments["matrices"][None])
    assert seen == [arguments["input"].data_ptr()]


def sampled_by_grid(input: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Computes `affine_align` of one window by torch's own ops."""
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=input.dtype) + 0.5 for n in size), indexing="ij")
    square = torch.cat((matrix, torch.tensor([[0.0, 0.0, 1.0]], dtype=matrix.dtype)))
    points = torch.stack((columns, rows, torch.ones_like(rows)), -1) @ torch.linalg.inv(square)[:2].T
    grid = 2 * points / torch.tensor([input.shape[-1], input.shape[-2]]) - 1
    return grid_sample(input, grid[None], align_corners=False)


def test_grad_and_vmap_agree_with_grid_sample():
    arguments = valid_arguments("affine_align", dtype=torch.float64)
    input, matrices, index = arguments["input"][:1], arguments["matrices"], torch.tensor([0])

    def ours(input: Tensor, matrix: Tensor) -> Tensor:
        return energy(affine_align(input, matrix[None], index, (6, 7), convention="half_pixel"))

    def theirs(input: Tensor, matrix: Tensor) -> Tensor:
        return energy(sampled_by_grid(input, matrix, (6, 7)))

    for in_dims in ((None, 0), (0, 0)):
        inputs = input if in_dims[0] is None else torch.stack([input, 2 * input, input.flip(-1)])
        for transformed in (lambda f: f, lambda f: grad(f, (0, 1))):
            found, expected = (vmap(transformed(f), in_dims)(inputs, matrices) for f in (ours, theirs))
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("convention", ["integer", "half_pixel", "pose2seg"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_differentiable_sampling_is_the_op(backend, convention, dtype):
    arguments = valid_arguments("affine_align", backend.device, dtype)
    input, matrices, batch_index = arguments["input"], arguments["matrices"], arguments["batch_index"]
    matrices = torch.cat((matrices, torch.zeros_like(matrices[:1]), 1e30 * matrices[:1], matrices))
    batch_index = torch.cat((batch_index, batch_index[:2], torch.tensor([2, -1, 0], device=backend.device)))
    for some in (input, input[:0], input[:, :0]):
        found = affine_align_by_gather(some, matrices, batch_index, (6, 7), convention, *PLAIN_MODES)
        expected = backend.affine_align(some, matrices, batch_index, (6, 7), convention=convention)
        torch.testing.assert_close(found, expected)


def test_second_derivatives_where_nothing_is_sampled_are_0(backend):
    arguments = valid_arguments("affine_align", backend.device, torch.float64)
    singular, far = torch.zeros(2, 3), torch.tensor([[1.0, 0, 1e30], [0, 1, -1e30]])
    arguments["matrices"] = torch.stack((singular, far, torch.eye(2, 3))).to(arguments["matrices"])
    arguments["batch_index"] = torch.tensor([0, 0, 2], device=backend.device)  # there are two images
    of_leaves = energy_of(as_function(backend, "affine_align", LEAVES["affine_align"], arguments))
    for block in itertools.chain(*hessian(of_leaves, (0, 1))(arguments["input"], arguments["matrices"])):
        assert torch.count_nonzero(block) == 0


@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoint_has_the_same_bits(backend, op, use_reentrant):
    arguments = valid_arguments(op, backend.device)
    leaves = [arguments[name].requires_grad_() for name in LEAVES[op]]
    of_leaves = energy_of(as_function(backend, op, LEAVES[op], arguments))
    again = checkpoint(of_leaves, *leaves, use_reentrant=use_reentrant)
    again.backward()  # with reentrant checkpoints, torch.autograd.grad raises
    assert same([leaf.grad for leaf in leaves], torch.autograd.grad(of_leaves(*leaves), leaves))


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "grad": lambda f, leaves: grad(f, tuple(range(len(leaves))))(*leaves),
    "vmap of grad": lambda f, leaves: vmap(grad(f))(*(torch.stack((leaf, leaf.flip(-1))) for leaf in leaves)),
    "jvp": lambda f, leaves: jvp(f, leaves, tuple(map(torch.ones_like, leaves))),
    "Hessian times a vector": lambda f, leaves: jvp(grad(f), leaves, tuple(map(torch.ones_like, leaves))),
}


@pytest.mark.parametrize("op", DIFFERENTIABLE)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_compile_without_graph_breaks(op, transform):
    arguments = valid_arguments(op, dtype=torch.float64)
    of_leaves = energy_of(as_function(pose2seg_ops, op, LEAVES[op], arguments))

    def transformed(*leaves: Tensor) -> Any:
        return TRANSFORMS[transform](of_leaves, leaves)

    leaves = [arguments[name] for name in LEAVES[op]]
    compiled = torch.compile(transformed, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*leaves), transformed(*leaves))


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_forward_mode_compiles(compiler):
    arguments = valid_arguments("affine_align", dtype=torch.float64)
    call = as_function(pose2seg_ops, "affine_align", ("input", "matrices"), arguments)
    leaves = arguments["input"], arguments["matrices"]

    def tangent(*tangents: Tensor) -> Tensor:
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(call(*map(forward_ad.make_dual, leaves, tangents))).tangent

    tangents = tuple(map(noise, leaves))
    compiled = torch.compile(tangent, backend=compiler, fullgraph=True)
    torch.testing.assert_close(compiled(*tangents), jvp(call, leaves, tangents)[1])


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_vectorised_jacobians_have_the_bits_of_a_loop(backend, op):
    arguments = valid_arguments(op, backend.device) | {"output_size": (2, 3)}
    call = as_function(backend, op, LEAVES[op], arguments)
    leaves = tuple(arguments[name] for name in LEAVES[op])
    jacobian = torch.autograd.functional.jacobian
    assert same(jacobian(call, leaves, vectorize=True), jacobian(call, leaves))


def test_gradients_per_sample_compile_with_inductor():
    arguments = valid_arguments("affine_align", dtype=torch.float64)
    of_leaves = energy_of(as_function(pose2seg_ops, "affine_align", ("input", "matrices"), arguments))
    inputs, matrices = (
        torch.stack((leaf, leaf.flip(-1))) for leaf in (arguments["input"], arguments["matrices"])
    )
    transformed = vmap(grad(of_leaves, (0, 1)))
    compiled = torch.compile(transformed, fullgraph=True)
    torch.testing.assert_close(compiled(inputs, matrices), transformed(inputs, matrices))


@pytest.mark.parametrize("limbs", [LIMBS, [list(limb) for limb in LIMBS]], ids=["tuples", "lists"])
def test_second_derivatives_for_limbs_of_any_type(limbs):
    arguments = valid_arguments("skeleton_maps", dtype=torch.float64) | {"limbs": limbs}
    keypoints = arguments["keypoints"].requires_grad_()
    of_keypoints = energy_of(as_function(pose2seg_ops, "skeleton_maps", ("keypoints",), arguments))
    (first,) = torch.autograd.grad(of_keypoints(keypoints), keypoints, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), keypoints)
    torch.testing.assert_close(second, hessian(of_keypoints)(keypoints.detach()).sum((0, 1, 2)))


def test_the_adaptive_ratio_has_neither_forward_mode_nor_second_derivatives(backend):
    call, leaves = differentiable_function(backend, "affine_align", {"sampling_ratio": 0})
    (grad,) = torch.autograd.grad(call(*leaves).square().sum(), leaves[1], create_graph=True)
    message = "sampling_ratio must be at least 1 for second derivatives and forward mode, got 0"
    with pytest.raises(NotImplementedError, match=message):
        torch.autograd.grad(grad.sum(), leaves[1])
    with pytest.raises(NotImplementedError, match=message):
        torch.func.jvp(
            lambda matrices: call(leaves[0].detach(), matrices), (leaves[1].detach(),), (leaves[1].detach(),)
        )


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "fill", "border", "reflection", "roi_align"])
def test_the_composite_equals_the_kernel_in_all_modes(backend, interpolation, padding_mode):
    arguments = valid_arguments("affine_align", backend.device, torch.float64)
    for matrices in (arguments["matrices"], PROJECTIVE.repeat(3, 1, 1).to(backend.device)):
        index = torch.tensor([1, 0, 2], device=backend.device)
        for convention, ratio in (("half_pixel", 1), ("inverse", 3)):
            modes: dict[str, Any] = {
                "convention": convention,
                "sampling_ratio": ratio,
                "interpolation": interpolation,
                "padding_mode": padding_mode,
                "fill": 0.5 if padding_mode == "fill" else 0.0,
            }
            given = arguments["input"], 2.5 * matrices, index, (6, 7)
            expected = backend.affine_align(*given, **modes)
            torch.testing.assert_close(affine_align_by_gather(*given, **modes), expected, rtol=0, atol=1e-11)
