import numpy as np
import oracles
import pytest
import torch
from golden import load_golden
from thread_count import thread_count

from pose2seg_ops import COCO_LIMBS, reference, skeleton_maps

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 4e-3}
FIVE_LIMBS = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0))


def random_people(
    maps: int, people: int, joints: int = 5, extent: float = 30.0, seed: int = 0
) -> torch.Tensor:
    """Returns (maps, people, joints, 3): some joints outside the map, some occluded, some unlabelled."""
    random = np.random.default_rng(seed)
    position = random.uniform(-0.2 * extent, 1.2 * extent, (maps, people, joints, 2))
    visibility = random.choice([0, 1, 2], (maps, people, joints, 1), p=[0.2, 0.3, 0.5])
    return torch.from_numpy(np.concatenate((position, visibility), -1))


def assert_equal_off_ties(actual: np.ndarray, expected: np.ndarray, ties: int) -> None:
    """Asserts equality to 1e-6, except for at most `ties` values whose distance is exactly at a threshold."""
    differs = np.abs(actual.astype(np.float64) - expected) > 1e-6
    assert differs.sum() <= ties, f"{differs.sum()} values differ, at {np.argwhere(differs)[:5].tolist()}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_original(implementation, dtype):
    data = load_golden("skeleton_small.npz")
    poses = torch.from_numpy(data["poses"]).to(implementation.device, dtype)
    maps = implementation.skeleton_maps(poses, (64, 64), signed_visibility=True)
    assert_equal_off_ties(maps.cpu().numpy(), data["feat_visdiff_true"], ties=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("stride", "size", "float32_ties"),
    [(4, "256x256", 12), (8, "512x512", 12), (4, "200x130", 0), (1, "48x80", 0)],
)
def test_equals_the_original_with_strides(implementation, stride, size, float32_ties, dtype):
    data = load_golden("skeleton_strides.npz")
    expected = data[f"feat_s{stride}_{size}"]
    poses = torch.from_numpy(data[f"poses_s{stride}_{size}"]).to(implementation.device, dtype)
    maps = implementation.skeleton_maps(poses, expected.shape[-2:], stride=stride, signed_visibility=True)
    assert_equal_off_ties(maps.cpu().numpy(), expected, ties=float32_ties if dtype == torch.float32 else 0)


@pytest.mark.parametrize(("people", "limb_overlap"), [(1, "last"), (1, "mean"), (4, "last"), (4, "mean")])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("stride", "sigma", "limb_width"), [(1, 3.0, 1.0), (4, 6.0, 1.0), (3, 2.5, 2.25)])
def test_equals_regions_drawn_one_by_one(
    implementation, people, limb_overlap, signed, stride, sigma, limb_width
):
    keypoints = random_people(3, people, extent=24.0 * stride)
    options = {
        "sigma": sigma,
        "limb_width": limb_width,
        "stride": stride,
        "signed_visibility": signed,
        "limb_overlap": limb_overlap,
    }
    maps = implementation.skeleton_maps(
        keypoints.to(implementation.device), (18, 24), limbs=FIVE_LIMBS, **options
    )
    for actual, map_people in zip(maps.cpu().numpy(), keypoints.numpy(), strict=True):
        expected = oracles.skeleton_maps(
            map_people, (18, 24), FIVE_LIMBS, sigma, limb_width, stride, signed, limb_overlap
        )
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_the_order_of_people_determines_the_sign(implementation):
    visible, occluded = [10.0, 10.0, 2.0], [12.0, 10.0, 1.0]
    keypoints = torch.tensor([[[visible], [occluded]], [[occluded], [visible]]], device=implementation.device)
    maps = implementation.skeleton_maps(keypoints, (20, 20), limbs=(), signed_visibility=True)
    assert maps[0, 0, 10, 10] == -1.0
    assert maps[1, 0, 10, 12].item() == pytest.approx(np.exp(-4 / 18), abs=1e-6)


@pytest.mark.parametrize("keypoints_dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_output_dtypes(backend, keypoints_dtype, dtype):
    keypoints = random_people(2, 2).to(backend.device, keypoints_dtype)
    maps = backend.skeleton_maps(keypoints, (30, 30), limbs=FIVE_LIMBS, dtype=dtype)
    assert maps.dtype == dtype
    expected = reference.skeleton_maps(keypoints.double(), (30, 30), limbs=FIVE_LIMBS)
    torch.testing.assert_close(
        maps.double(), expected, rtol=0, atol=max(TOLERANCE[dtype], TOLERANCE[keypoints_dtype])
    )
    assert backend.skeleton_maps(keypoints, (3, 3), limbs=FIVE_LIMBS).dtype == keypoints_dtype


def test_crowds_are_drawn_in_order(backend):
    keypoints = random_people(1, 100, joints=5, seed=1).to(backend.device)
    maps = backend.skeleton_maps(keypoints, (30, 30), limbs=FIVE_LIMBS, signed_visibility=True)
    expected = reference.skeleton_maps(keypoints, (30, 30), limbs=FIVE_LIMBS, signed_visibility=True)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30, -1e30, 1e300])
def test_unusable_joints_are_not_drawn(implementation, value):
    keypoints = torch.tensor([[[value, 5.0, 2.0], [5.0, value, 2.0], [8.0, 8.0, 2.0]]], dtype=torch.float64)
    limbs = ((0, 2), (2, 1))
    maps = implementation.skeleton_maps(keypoints.to(implementation.device), (16, 16), limbs=limbs)
    assert torch.count_nonzero(maps[0, :2]) == 0
    assert maps[0, 2, 8, 8] == 1
    assert maps.isfinite().all()
    if not np.isfinite(value):
        assert torch.count_nonzero(maps[0, 3:]) == 0


@pytest.mark.parametrize("visibility", [0.0, -1.0, torch.nan])
def test_unlabelled_joints_are_not_drawn(implementation, visibility):
    keypoints = torch.tensor([[[4.0, 4.0, visibility], [8.0, 8.0, 2.0]]], device=implementation.device)
    maps = implementation.skeleton_maps(keypoints, (16, 16), limbs=((0, 1),))
    assert maps[0, 1].max() == 1
    assert torch.count_nonzero(maps[0, [0, 2, 3]]) == 0


def test_maps_wider_than_float32_counts():
    keypoints = torch.tensor([[[0.0, 0.0, 2.0], [3e7, 0.0, 2.0]]])
    maps = skeleton_maps(keypoints, (1, 2**24 + 3), limbs=((0, 1),), dtype=torch.float16)
    assert (maps[0, 2, 0] == 1).all()


STYLES = (
    {"signed_visibility": True},
    {"limb_overlap": "mean", "limb_width": 2.25},
    {"stride": 3, "sigma": 4.0, "signed_visibility": True, "limb_overlap": "mean"},
)


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_gradient_equals_finite_differences(backend, style):
    keypoints = random_people(1, 3, extent=8.0 * style.get("stride", 1), seed=3).to(backend.device)
    position, visibility = keypoints[..., :2].requires_grad_(), keypoints[..., 2:]
    torch.autograd.gradcheck(
        lambda position: backend.skeleton_maps(
            torch.cat((position, visibility), -1), (7, 8), limbs=FIVE_LIMBS, **style
        ),
        position,
        fast_mode=backend.name == "emulated",  # checking all entries one by one would take half a minute
    )


def gradient(ops, keypoints, grad_output, **options):
    """Returns the gradient of skeleton_maps with FIVE_LIMBS for this gradient of its output."""
    leaf = keypoints.clone().requires_grad_()
    maps = ops.skeleton_maps(leaf, grad_output.shape[-2:], limbs=FIVE_LIMBS, **options)
    return torch.autograd.grad(maps, leaf, grad_output)[0]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("style", STYLES, ids=str)
def test_gradient_is_that_of_the_reference(backend, style, dtype):
    geometry = torch.float64 if dtype == torch.float64 else torch.float32
    keypoints = random_people(3, 4, extent=24.0).to(backend.device, geometry)
    grad_output = torch.randn(3, 15, 18, 24).to(backend.device, dtype)
    actual = gradient(backend, keypoints, grad_output, dtype=dtype, **style)
    expected = gradient(reference, keypoints, grad_output.to(geometry), **style)
    assert actual.dtype == geometry
    assert torch.count_nonzero(actual[..., 2]) == 0
    assert torch.count_nonzero(actual[..., :2]) > 30
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "view",
    [
        lambda g: g[:, ::2, 1:-1, ::2],
        lambda g: g.permute(0, 1, 3, 2)[:, :15],
        lambda g: g[:, :1, :1, :1].expand(-1, 15, 12, 9),
        lambda g: g[:, :15].contiguous(memory_format=torch.channels_last),
    ],
    ids=["stepped", "permuted", "expanded", "channels_last"],
)
def test_gradient_of_any_strides(backend, view):
    keypoints = random_people(3, 2, extent=12.0).to(backend.device)
    grad_output = view(torch.randn(3, 30, 14, 14, dtype=torch.float64, device=backend.device))
    assert torch.equal(
        gradient(backend, keypoints, grad_output), gradient(backend, keypoints, grad_output.contiguous())
    )


def test_the_first_of_equal_joints_gets_the_gradient(backend):
    keypoints = torch.tensor([[[[5.0, 5.0, 2.0]], [[5.0, 5.0, 2.0]]]], device=backend.device).requires_grad_()
    backend.skeleton_maps(keypoints, (9, 9), limbs=())[..., 6].sum().backward()
    assert keypoints.grad is not None
    assert keypoints.grad[0, 0, 0, 0] > 0.1
    assert torch.count_nonzero(keypoints.grad[0, 1]) == 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30, -1e30])
def test_unusable_joints_have_no_gradient(implementation, value):
    keypoints = torch.tensor([[[value, 5.0, 2.0], [5.0, 5.0, 0.0], [8.0, 8.0, 2.0], [8.0, 8.0, 2.0]]])
    keypoints = keypoints.to(implementation.device).requires_grad_()
    limbs = ((0, 2), (2, 1), (2, 3), (2, 2))
    implementation.skeleton_maps(keypoints, (16, 16), limbs=limbs)[..., 9].sum().backward()
    assert keypoints.grad is not None
    assert (keypoints.grad[0, :2].abs() <= 1e-20).all()  # nearly 0 for a limb of length 1e30
    assert (keypoints.grad[0, 2:, 0] > 0.1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_joints_that_are_too_close_have_no_limb_gradient(implementation, dtype):
    """The limb between them has a direction, but moving a joint by its length turns it completely."""
    near = torch.finfo(dtype).smallest_normal / 8
    keypoints = torch.tensor([[[0.0, 0.0, 2.0], [near, 0.0, 2.0]]], dtype=dtype, device=implementation.device)
    keypoints.requires_grad_()
    maps = implementation.skeleton_maps(keypoints, (3, 3), limbs=((0, 1),))
    assert maps[0, 2, 0, 0] == 1
    (limb,) = torch.autograd.grad(maps[:, 2:].sum(), keypoints)
    assert torch.count_nonzero(limb) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sigma", [1e-12, 1e-30, 1e-300])
def test_a_joint_at_a_cell_centre_is_one_for_any_sigma(implementation, sigma, dtype):
    keypoints = torch.tensor([[[4.0, 5.0, 2.0]]], dtype=dtype, device=implementation.device)
    keypoints.requires_grad_()
    maps = implementation.skeleton_maps(keypoints, (9, 9), limbs=(), sigma=sigma)
    assert maps.nonzero().tolist() == [[0, 0, 5, 4]]
    assert maps[0, 0, 5, 4] == 1
    (peak,) = torch.autograd.grad(maps.sum(), keypoints)
    assert torch.count_nonzero(peak) == 0


def test_a_position_whose_square_overflows_is_not_drawn(implementation):
    keypoints = torch.tensor([[[1.5e308, 5.0, 2.0], [-1.5e308, 5.0, 2.0]]], dtype=torch.float64)
    keypoints = keypoints.to(implementation.device).requires_grad_()
    maps = implementation.skeleton_maps(keypoints, (9, 9), limbs=((0, 1),))
    (grad,) = torch.autograd.grad(maps.sum(), keypoints)
    assert torch.count_nonzero(maps) == 0
    assert torch.count_nonzero(grad) == 0


def test_gradient_of_means_has_the_same_bits_on_every_run_and_thread_count(backend):
    keypoints = random_people(2, 30, extent=30.0).float().to(backend.device)
    grad_output = torch.randn(2, 15, 30, 30, device=backend.device)
    gradients = []
    for count in (1, 2, 2, 3):
        with thread_count(count):
            gradients.append(gradient(backend, keypoints, grad_output, limb_overlap="mean"))
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_passes_opcheck(backend, requires_grad, dtype):
    keypoints = random_people(2, 2).to(backend.device).requires_grad_(requires_grad)
    limbs = [joint for limb in FIVE_LIMBS for joint in limb]
    arguments = keypoints, (9, 8), limbs, 3.0, 1.0, 1, True, "mean", dtype
    torch.library.opcheck(backend.operators.skeleton_maps.default, arguments)


def test_backward_passes_opcheck(backend):
    keypoints = random_people(2, 2).to(backend.device)
    grad_output = torch.randn(2, 15, 9, 8, dtype=torch.float64, device=backend.device)
    limbs = [joint for limb in FIVE_LIMBS for joint in limb]
    arguments = grad_output.requires_grad_(), keypoints.requires_grad_(), limbs, 3.0, 1.0, 1, True, "mean"
    torch.library.opcheck(backend.operators.skeleton_maps_backward.default, arguments)


def test_compiles_without_graph_breaks_for_any_number_of_maps(backend):
    def energy(keypoints):
        return backend.skeleton_maps(keypoints, (9, 8), limbs=FIVE_LIMBS).square().sum()

    compiled = torch.compile(energy, fullgraph=True, backend="aot_eager")
    for maps in (2, 3, 5, 6):
        keypoints = random_people(maps, 2, extent=9.0).to(backend.device).requires_grad_()
        results = []
        for function in (compiled, energy):
            value = function(keypoints)
            results.append((value, *torch.autograd.grad(value, keypoints)))
        torch.testing.assert_close(*results)


def test_meta_tensors_have_the_right_shape(backend):
    keypoints = torch.zeros(3, 2, 5, 3, device="meta")
    maps = backend.skeleton_maps(keypoints, (6, 7), limbs=FIVE_LIMBS, dtype=torch.half)
    assert (maps.shape, maps.dtype, maps.device.type) == ((3, 15, 6, 7), torch.half, "meta")


def test_strided_keypoints(backend):
    keypoints = random_people(4, 2).to(backend.device)
    strided = torch.stack((keypoints, -keypoints), -1)[..., 0][::2]
    maps = backend.skeleton_maps(strided, (9, 9), limbs=FIVE_LIMBS)
    assert torch.equal(maps, backend.skeleton_maps(keypoints[::2].contiguous(), (9, 9), limbs=FIVE_LIMBS))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"keypoints": torch.zeros(17, 3)}, ValueError, r"keypoints must be \(N, K, 3\) or \(N, P, K, 3\), got \(17, 3\)"),
        ({"keypoints": torch.zeros(1, 17, 2)}, ValueError, r"keypoints must be .* got \(1, 17, 2\)"),
        ({"keypoints": torch.zeros(1, 1, 1, 17, 3)}, ValueError, r"keypoints must be .* got \(1, 1, 1, 17, 3\)"),
        ({"keypoints": torch.zeros(1, 17, 3).long()}, TypeError, "keypoints must be float32 or float64, got int64"),
        ({"keypoints": torch.zeros(1, 17, 3).half()}, TypeError, "keypoints must be float32 .* got float16"),
        ({"keypoints": torch.zeros(1, 2**15, 3), "limbs": ()}, ValueError, "keypoints must have at most 32767 joints, got 32768"),
        ({"output_size": (4, -1)}, ValueError, r"output_size must be a positive \(height, width\), got \(4, -1\)"),
        ({"output_size": (0, 4)}, ValueError, r"output_size must be a positive \(height, width\), got \(0, 4\)"),
        ({"limbs": ((0, 1, 2),)}, TypeError, r"limbs must be pairs of integers, got \(0, 1, 2\)"),
        ({"limbs": ((0, 17),)}, ValueError, r"limbs must name two of the 17 joints, counted from 0, got \(0, 17\) at 0"),
        ({"limbs": ((-1, 0),)}, ValueError, r"limbs must name two of the 17 joints, counted from 0, got \(-1, 0\) at 0"),
        ({"limbs": ((0, 1),) * 257}, ValueError, "limbs must be at most 256, got 257"),
        ({"sigma": 0.0}, ValueError, "sigma must be positive and finite, got 0"),
        ({"sigma": torch.nan}, ValueError, "sigma must be positive and finite, got nan"),
        ({"limb_width": -1.0}, ValueError, "limb_width must be positive and finite, got -1"),
        ({"stride": 0}, ValueError, "stride must be at least 1, got 0"),
        ({"limb_overlap": "first"}, ValueError, "limb_overlap must be 'last' or 'mean', got 'first'"),
        ({"output_size": (2**16, 2**15)}, ValueError, r"output_size must be fewer than 2\^31 cells, got 65536 x 32768"),
        ({"dtype": torch.int32}, TypeError, "dtype must be float32, .* got int32"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        skeleton_maps(
            **({"keypoints": torch.zeros(1, 17, 3), "output_size": (8, 8), "limbs": COCO_LIMBS} | change)
        )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grad": torch.zeros(2, 15, 9)}, ValueError, r"grad must be \(N, K \+ 2 L, h, w\), got \(2, 15, 9\)"),
        ({"grad": torch.zeros(2, 14, 9, 8)}, ValueError, r"grad must be \(N, K \+ 2 L, h, w\), got \(2, 14, 9, 8\)"),
        ({"grad": torch.zeros(2, 15, 9, 8).int()}, TypeError, "grad must be float32, .* got int32"),
        ({"keypoints": torch.zeros(2, 5, 2)}, ValueError, r"keypoints must be \(N, K, 3\) or .* got \(2, 5, 2\)"),
        ({"limbs": [0, 1, 2], "grad": torch.zeros(2, 8, 9, 8)}, ValueError, "limbs must be pairs of joints, got 3 numbers"),
        ({"limbs": [0, 5] * 5}, ValueError, r"limbs must name two of the 5 joints, counted from 0, got \(0, 5\) at 0"),
    ],
)  # fmt: skip
def test_bad_arguments_of_the_gradient(change, error, message):
    arguments = {
        "grad": torch.zeros(2, 15, 9, 8),
        "keypoints": torch.zeros(2, 5, 3),
        "limbs": [0, 1] * 5,
    }
    style = {"sigma": 3.0, "limb_width": 1.0, "stride": 1, "signed_visibility": True, "limb_overlap": "last"}
    with pytest.raises(error, match=message):
        torch.ops.pose2seg_ops.skeleton_maps_backward(**(arguments | style | change))
