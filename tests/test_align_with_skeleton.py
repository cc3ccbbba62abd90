import pytest
import torch

from pose2seg_ops import align_with_skeleton, reference

CONVENTIONS = ("integer", "half_pixel", "pose2seg")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
LIMBS = ((0, 1), (1, 2), (2, 3), (3, 0))
SIZE = (18, 15)


def example(dtype=torch.float64, device="cpu", channels=3):
    """Three poses of four joints in two maps; windows rotated and magnified."""
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(2, channels, 14, 17, generator=generator, dtype=torch.float64)
    position = 4 + 8 * torch.rand(3, 4, 2, generator=generator, dtype=torch.float64)
    visibility = torch.tensor([[2.0, 2, 1, 2], [2, 0, 2, 1], [1, 2, 2, 2]], dtype=torch.float64)
    matrices = torch.tensor(
        [
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            [[1.1, 0.4, -2.3], [-0.4, 1.1, 3.1]],
            [[-0.9, 0.3, 14.0], [0.2, 1.2, -1.0]],
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
    """Keypoints (N, K, 3) moved one by one."""
    moved = keypoints.clone()
    for n, k in torch.cartesian_prod(torch.arange(keypoints.shape[0]), torch.arange(keypoints.shape[1])):
        moved[n, k, :2] = matrices[n, :, :2] @ keypoints[n, k, :2] + matrices[n, :, 2]
    return moved


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_is_both_ops_one_after_the_other(implementation, convention, dtype, memory_format):
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
def test_has_the_bits_of_both_ops_in_the_layout_of_the_input(backend, channels, limbs):
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


def test_many_joints_and_limbs(backend):
    """More channels than one group of either kernel, even and odd, and cells that fill no block."""
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
def test_what_cannot_be_placed_is_zero(implementation, value):
    input, keypoints, matrices, batch_index = example(torch.float32, implementation.device)
    matrices[0, 0, 2] = value
    batch_index[1] = 2
    output = implementation.align_with_skeleton(input, keypoints, matrices, batch_index, SIZE, limbs=())
    assert torch.count_nonzero(output[0]) == 0
    assert torch.count_nonzero(output[1, :3]) == 0
    assert (output[1, 3:].amax((1, 2)) > 0.5).tolist() == [True, False, True, True]


def test_no_instances(implementation):
    input, keypoints, matrices, batch_index = example(device=implementation.device)
    output = implementation.align_with_skeleton(
        input, keypoints[:0], matrices[:0], batch_index[:0], SIZE, limbs=LIMBS
    )
    assert output.shape == (0, 3 + 4 + 8, *SIZE)


OPTIONS = ((18, 15), "pose2seg", [joint for limb in LIMBS for joint in limb], 2.0, 1.5, True)


def call(ops, arguments):
    size, convention, _, sigma, limb_width, signed = OPTIONS
    return ops.align_with_skeleton(
        *arguments, size, convention=convention, limbs=LIMBS, sigma=sigma, limb_width=limb_width,
        signed_visibility=signed,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": torch.zeros(3, 14, 17)}, ValueError, r"input must be \(B, C, H, W\), got \(3, 14, 17\)"),
        ({"input": torch.zeros(2, 3, 14, 17).int()}, TypeError, "input must be float32, .* got int32"),
        ({"keypoints": torch.zeros(2, 4, 3)}, ValueError, r"keypoints must be \(N, K, 3\), a pose per matrix, got \(2, 4, 3\)"),
        ({"keypoints": torch.zeros(3, 1, 4, 3)}, ValueError, r"keypoints must be \(N, K, 3\), .* got \(3, 1, 4, 3\)"),
        ({"keypoints": torch.zeros(3, 4, 3).double()}, TypeError, "keypoints must be float32 with float32 input, got float64"),
        ({"keypoints": torch.zeros(3, 4, 3, device="meta")}, ValueError, "keypoints must be on cpu as input is, got meta"),
        ({"matrices": torch.zeros(3, 3, 3)}, ValueError, r"matrices must be \(N, 2, 3\), got \(3, 3, 3\)"),
        ({"matrices": torch.zeros(3, 2, 3).half()}, TypeError, "matrices must be float32 with float32 input, got float16"),
        ({"batch_index": torch.zeros(2).long()}, ValueError, r"batch_index must be \(3,\), .* got \(2,\)"),
        ({"batch_index": torch.zeros(3)}, TypeError, "batch_index must be int64, got float32"),
        ({"output_size": (0, 3)}, ValueError, r"output_size must be a positive \(height, width\), got \(0, 3\)"),
        ({"output_size": 64}, TypeError, r"output_size must be \(height, width\), two integers, got 64"),
        ({"convention": "corners"}, ValueError, "convention must be 'integer', .* got 'corners'"),
        ({"limbs": ((0, 4),)}, ValueError, r"limbs must name joints 0 to 3, got \(0, 4\) at 0"),
        ({"sigma": -1.0}, ValueError, "sigma must be positive and finite, got -1"),
        ({"limb_width": torch.inf}, ValueError, "limb_width must be positive and finite, got inf"),
        ({"input": torch.zeros(2, 3, 14, 17, device="meta")}, NotImplementedError, "cpu or cuda device, got meta"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, message):
    names = ("input", "keypoints", "matrices", "batch_index")
    arguments = dict(zip(names, example(torch.float32), strict=True))
    with pytest.raises(error, match=message):
        align_with_skeleton(**({"output_size": SIZE, "limbs": LIMBS} | arguments | change))
