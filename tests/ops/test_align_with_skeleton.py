import pytest
import torch

from pose2seg_ops import align_with_skeleton, reference

CONVENTIONS = ("integer", "half_pixel", "pose2seg")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
LIMBS = ((0, 1), (1, 2), (2, 3), (3, 0))
SIZE = (18, 15)


def example(dtype=torch.float64, device="cpu", channels=3):
    """Returns three poses of four joints in two maps. No sampling point lies on a pixel, where the gradient
    jumps."""
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(2, channels, 14, 17, generator=generator, dtype=torch.float64)
    position = 4 + 8 * torch.rand(3, 4, 2, generator=generator, dtype=torch.float64)
    visibility = torch.tensor([[2.0, 2, 1, 2], [2, 0, 2, 1], [1, 2, 2, 2]], dtype=torch.float64)
    matrices = torch.tensor(
        [
            [[1.0, 0.0, 0.2541], [0.0, 1.0, -0.3127]],
            [[1.1013, 0.4027, -2.3719], [-0.4031, 1.1007, 3.1733]],
            [[-0.9011, 0.3023, 14.1307], [0.2039, 1.2017, -0.9113]],
        ],
        dtype=torch.float64,
    )
    geometry = torch.float64 if dtype == torch.float64 else torch.float32
    keypoints = torch.cat((position, visibility[..., None]), -1)
    return (
        input.to(device, dtype),
        keypoints.to(device, geometry),
        matrices.to(device, geometry),
        torch.tensor([0, 1, 0], device=device),
    )


def move(keypoints, matrices):
    """Transforms keypoints (N, K, 3) one by one."""
    moved = keypoints.clone()
    for n, k in torch.cartesian_prod(torch.arange(keypoints.shape[0]), torch.arange(keypoints.shape[1])):
        moved[n, k, :2] = matrices[n, :, :2] @ keypoints[n, k, :2] + matrices[n, :, 2]
    return moved


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_equals_the_two_ops(implementation, convention, dtype, memory_format):
    input, keypoints, matrices, batch_index = example(dtype, implementation.device)
    input = input.contiguous(memory_format=memory_format)
    actual = implementation.align_with_skeleton(
        input, keypoints, matrices, batch_index, SIZE, convention=convention, limbs=LIMBS,
        sigma=2.0, limb_width=1.5, signed_visibility=True,
    )  # fmt: skip
    windows = reference.affine_align(input, matrices, batch_index, SIZE, convention=convention)
    skeletons = reference.skeleton_maps(
        move(keypoints.double(), matrices.double()), SIZE, limbs=LIMBS, sigma=2.0, limb_width=1.5,
        signed_visibility=True,
    )  # fmt: skip
    assert actual.dtype == dtype
    torch.testing.assert_close(
        actual.double(), torch.cat((windows.double(), skeletons), 1), rtol=0, atol=TOLERANCE[dtype]
    )


@pytest.mark.parametrize("channels", [0, 1, 3, 64])
@pytest.mark.parametrize("limbs", [LIMBS, ()])
def test_has_the_bits_of_the_two_ops_and_the_layout_of_the_input(backend, channels, limbs):
    input, keypoints, matrices, batch_index = example(torch.float32, backend.device, channels)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        rearranged = input.contiguous(memory_format=memory_format)
        actual = backend.align_with_skeleton(rearranged, keypoints, matrices, batch_index, SIZE, limbs=limbs)
        assert channels < 2 or actual.is_contiguous(memory_format=memory_format)
        windows = backend.affine_align(input, matrices, batch_index, SIZE)
        assert torch.equal(actual[:, :channels], windows)
        identity = torch.eye(2, 3, device=backend.device).expand(3, -1, -1)
        moved = backend.align_with_skeleton(rearranged, keypoints, identity, batch_index, SIZE, limbs=limbs)
        assert torch.equal(moved[:, channels:], backend.skeleton_maps(keypoints, SIZE, limbs=limbs))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("channels", [128, 264])
def test_pixels_that_are_not_aligned_to_16_bytes(backend, channels, dtype):
    input, keypoints, matrices, batch_index = example(dtype, backend.device, channels)
    input = input.contiguous(memory_format=torch.channels_last)
    windows = backend.affine_align(input, matrices, batch_index, (9, 11))
    for joints in (1, 3):
        actual = backend.align_with_skeleton(
            input, keypoints[:, :joints], matrices, batch_index, (9, 11), limbs=()
        )
        assert actual.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(actual[:, :channels], windows)
        alone = backend.align_with_skeleton(
            input[:, :0], keypoints[:, :joints], matrices, batch_index, (9, 11), limbs=()
        )
        assert torch.equal(actual[:, channels:], alone)


def test_many_joints_and_limbs(backend):
    """Tests more channels than one group of either kernel, even and odd, and cells that do not fill a
    block."""
    for joints in (40, 67):
        keypoints = torch.rand(1, joints, 3, device=backend.device) * 12 + 1
        limbs = tuple((k, (k + 7) % joints) for k in range(joints))
        identity = torch.eye(2, 3, device=backend.device)[None]
        for memory_format in (torch.contiguous_format, torch.channels_last):
            input = torch.ones(1, 2, 5, 5, device=backend.device).contiguous(memory_format=memory_format)
            index = torch.zeros(1, dtype=torch.int64, device=backend.device)
            actual = backend.align_with_skeleton(input, keypoints, identity, index, (11, 13), limbs=limbs)
            expected = reference.skeleton_maps(keypoints, (11, 13), limbs=limbs)
            torch.testing.assert_close(actual[:, 2:], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "view",
    [lambda t: t[:, 1:3, 2:-1, 3:-2], lambda t: t.transpose(2, 3), lambda t: t[:1].expand(2, -1, -1, -1)],
    ids=["slice", "transposed", "expanded"],
)
def test_any_strides(backend, view):
    input, keypoints, matrices, batch_index = example(device=backend.device)
    strided = [torch.stack((t, t), -1)[..., 0] for t in (keypoints, matrices, batch_index)]
    actual = backend.align_with_skeleton(view(input), *strided, SIZE, limbs=LIMBS)
    expected = reference.align_with_skeleton(
        view(input).contiguous(), keypoints, matrices, batch_index, SIZE, limbs=LIMBS
    )
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("image", [2, -1])
def test_invalid_instances_give_zeros(implementation, value, image):
    input, keypoints, matrices, batch_index = example(torch.float32, implementation.device)
    matrices[0, 0, 2] = value
    batch_index[1] = image
    keypoints[1, 3, 1] = value
    output = implementation.align_with_skeleton(input, keypoints, matrices, batch_index, SIZE, limbs=())
    assert torch.count_nonzero(output[0]) == 0
    assert torch.count_nonzero(output[1, :3]) == 0
    assert (output[1, 3:].amax((1, 2)) > 0.5).tolist() == [True, False, True, False]


def test_a_singular_matrix_draws_all_joints_at_one_point_and_samples_nothing(implementation):
    input, keypoints, matrices, batch_index = example(torch.float32, implementation.device)
    matrices[0] = torch.tensor([[0.0, 0.0, 4.0], [0.0, 0.0, 6.0]])
    output = implementation.align_with_skeleton(input, keypoints, matrices, batch_index, SIZE, limbs=LIMBS)
    assert torch.count_nonzero(output[0, :3]) == 0
    assert (output[0, 3:7, 6, 4] == 1).all()
    assert torch.count_nonzero(output[0, 7:]) == 0  # limbs of length 0


def test_no_instances(implementation):
    input, keypoints, matrices, batch_index = example(device=implementation.device)
    output = implementation.align_with_skeleton(
        input, keypoints[:0], matrices[:0], batch_index[:0], SIZE, limbs=LIMBS
    )
    assert output.shape == (0, 3 + 4 + 8, *SIZE)


STYLE = {"limbs": LIMBS, "sigma": 2.0, "limb_width": 1.5, "signed_visibility": True}


def gradients(ops, tensors, batch_index, grad_output, convention="integer", wanted=(True, True, True)):
    """Returns the gradients of (input, keypoints, matrices) that are required."""
    leaves = [t.detach().clone().requires_grad_(w) for t, w in zip(tensors, wanted, strict=True)]
    output = ops.align_with_skeleton(
        *leaves, batch_index, grad_output.shape[-2:], convention=convention, **STYLE
    )
    return torch.autograd.grad(output, [leaf for leaf in leaves if leaf.requires_grad], grad_output)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gradient_equals_finite_differences(backend, convention):
    input, keypoints, matrices, batch_index = example(device=backend.device, channels=1)
    input, keypoints, matrices, index = input[:, :, :5, :4], keypoints[1:], matrices[1:], batch_index[1:]
    visibility = keypoints[..., 2:]

    def function(input, position, matrices):
        pose = torch.cat((position, visibility), -1)
        return backend.align_with_skeleton(
            input, pose, matrices, index, (5, 4), convention=convention, **STYLE
        )

    leaves = [t.clone().requires_grad_() for t in (input, keypoints[..., :2] / 2, matrices)]
    fast = backend.name == "emulated"  # checking all entries one by one would take half a minute
    torch.autograd.gradcheck(function, leaves, fast_mode=fast)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_gradient_is_that_of_the_reference(backend, dtype, memory_format):
    *tensors, batch_index = example(dtype, backend.device)
    tensors[0] = tensors[0].contiguous(memory_format=memory_format)
    grad_output = torch.randn(3, 3 + 12, *SIZE, dtype=torch.float64).to(backend.device, dtype)
    grad_output = grad_output.contiguous(memory_format=memory_format)
    actual = gradients(backend, tensors, batch_index, grad_output)
    expected = gradients(reference, [t.double() for t in tensors], batch_index, grad_output.double())
    for ours, theirs, tensor in zip(actual, expected, tensors, strict=True):
        assert ours.dtype == tensor.dtype
        tolerance = 20 * TOLERANCE[tensor.dtype]
        torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_each_gradient_alone(backend, wanted):
    *tensors, batch_index = example(device=backend.device)
    grad_output = torch.randn(3, 3 + 12, *SIZE, dtype=torch.float64, device=backend.device)
    alone = gradients(backend, tensors, batch_index, grad_output, wanted=wanted)
    every = gradients(backend, tensors, batch_index, grad_output)
    assert torch.equal(alone[0], every[wanted.index(True)])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_invalid_instances_have_zero_gradients(implementation, value):
    *tensors, batch_index = example(torch.float32, implementation.device)
    tensors[2][0, 0, 2] = value
    tensors[1][1, 0, 0] = value
    grad_output = torch.randn(3, 3 + 12, *SIZE, device=implementation.device)
    grad_input, grad_keypoints, grad_matrices = gradients(implementation, tensors, batch_index, grad_output)
    assert grad_input.isfinite().all()
    assert grad_keypoints.isfinite().all()
    assert grad_matrices.isfinite().all()
    assert torch.count_nonzero(grad_keypoints[0]) == 0
    assert torch.count_nonzero(grad_matrices[0]) == 0
    assert torch.count_nonzero(grad_keypoints[1]) > 0


def test_a_missing_nan_joint_has_the_gradients_of_one_at_0(implementation):
    *tensors, batch_index = example(device=implementation.device)
    grad_output = torch.randn(3, 3 + 12, *SIZE, dtype=torch.float64, device=implementation.device)
    found = []
    for position in (0.0, torch.nan):
        tensors[1][0, 2] = torch.tensor([position, position, 0.0])
        found.append(gradients(implementation, tensors, batch_index, grad_output))
    for at_zero, at_nan in zip(*found, strict=True):
        torch.testing.assert_close(at_nan, at_zero, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_passes_opcheck(backend, memory_format, requires_grad):
    input, keypoints, matrices, batch_index = example(device=backend.device)
    input = input.contiguous(memory_format=memory_format)
    for tensor in (input, keypoints, matrices):
        tensor.requires_grad_(requires_grad)
    limbs = [joint for limb in LIMBS for joint in limb]
    arguments = input, keypoints, matrices, batch_index, SIZE, "pose2seg", limbs, 2.0, 1.5, True
    torch.library.opcheck(backend.operators.align_with_skeleton.default, arguments)


def test_compiles_without_graph_breaks_for_any_number_of_instances(backend):
    def energy(*tensors):
        return backend.align_with_skeleton(*tensors, SIZE, limbs=LIMBS).square().sum()

    compiled = torch.compile(energy, fullgraph=True, backend="aot_eager")
    everything = [torch.cat((t, t)) for t in example(device=backend.device)]
    for count in (2, 3, 5, 6):
        input, *rest = everything
        leaves = [t.clone().requires_grad_() for t in (input, *(t[:count] for t in rest[:2]))]
        results = []
        for function in (compiled, energy):
            value = function(*leaves, rest[2][:count])
            results.append((value, *torch.autograd.grad(value, leaves)))
        torch.testing.assert_close(*results)


def test_meta_tensors_have_the_right_shape(backend):
    tensors = [t.to("meta") for t in example(torch.half)]
    output = backend.align_with_skeleton(*tensors, SIZE, limbs=LIMBS)
    assert (output.shape, output.dtype) == ((3, 15, *SIZE), torch.half)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": torch.zeros(3, 14, 17)}, ValueError, r"input must be \(B, C, H, W\), got \(3, 14, 17\)"),
        ({"input": torch.zeros(2, 3, 14, 17).int()}, TypeError, "input must be float32, .* got int32"),
        ({"keypoints": torch.zeros(2, 4, 3)}, ValueError, r"keypoints must be \(N, K, 3\), a pose per matrix, got \(2, 4, 3\)"),
        ({"keypoints": torch.zeros(3, 1, 4, 3)}, ValueError, r"keypoints must be \(N, K, 3\), .* got \(3, 1, 4, 3\)"),
        ({"keypoints": torch.zeros(3, 4, 2)}, ValueError, r"keypoints must be \(N, K, 3\), .* got \(3, 4, 2\)"),
        ({"keypoints": torch.zeros(3, 4, 3).long()}, TypeError, "keypoints must be float32 with float32 input, got int64"),
        ({"keypoints": torch.zeros(3, 4, 3).double()}, TypeError, "keypoints must be float32 with float32 input, got float64"),
        ({"keypoints": torch.zeros(3, 4, 3, device="meta")}, ValueError, "keypoints must be on cpu as input is, got meta"),
        ({"matrices": torch.zeros(3, 3, 3)}, ValueError, r"matrices must be \(N, 2, 3\), got \(3, 3, 3\)"),
        ({"matrices": torch.zeros(3, 2, 3, device="meta")}, ValueError, "matrices must be on cpu as input is, got meta"),
        ({"matrices": torch.zeros(3, 2, 3).half()}, TypeError, "matrices must be float32 with float32 input, got float16"),
        ({"batch_index": torch.zeros(2).long()}, ValueError, r"batch_index must be \(3,\), .* got \(2,\)"),
        ({"batch_index": torch.zeros(3)}, TypeError, "batch_index must be int64, got float32"),
        ({"batch_index": torch.zeros(3, device="meta").long()}, ValueError, "batch_index must be on cpu as input is, got meta"),
        ({"output_size": (3, -1)}, ValueError, r"output_size must be a positive \(height, width\), got \(3, -1\)"),
        ({"output_size": (2**16, 2**15)}, ValueError, r"output_size must be fewer than 2\^31 cells, got 65536 x 32768"),
        ({"output_size": (0, 3)}, ValueError, r"output_size must be a positive \(height, width\), got \(0, 3\)"),
        ({"output_size": 64}, TypeError, r"output_size must be \(height, width\), two integers, got 64"),
        ({"convention": "corners"}, ValueError, "convention must be 'integer', .* got 'corners'"),
        ({"limbs": ((0, 1),) * 257}, ValueError, "limbs must be at most 256, got 257"),
        ({"limbs": ((0, -1),)}, ValueError, r"limbs must name two of the 4 joints, counted from 0, got \(0, -1\) at 0"),
        ({"limbs": ((0, 4),)}, ValueError, r"limbs must name two of the 4 joints, counted from 0, got \(0, 4\) at 0"),
        ({"sigma": -1.0}, ValueError, "sigma must be positive and finite, got -1"),
        ({"limb_width": torch.inf}, ValueError, "limb_width must be positive and finite, got inf"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, message):
    names = ("input", "keypoints", "matrices", "batch_index")
    arguments = dict(zip(names, example(torch.float32), strict=True))
    with pytest.raises(error, match=message):
        align_with_skeleton(**({"output_size": SIZE, "limbs": LIMBS} | arguments | change))
