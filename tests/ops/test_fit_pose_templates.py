import numpy as np
import oracles
import pytest
import torch
from golden import load_golden
from hypothesis import strategies as st
from strategies import in_memory, many_cases, memory, put, seeds, sizes, spikes
from torch.autograd import forward_ad

from pose2seg_ops import fit_pose_templates, reference


def apply(matrices: np.ndarray, poses: np.ndarray) -> np.ndarray:
    return np.einsum("nij,nkj->nki", matrices[:, :, :2], poses[..., :2]) + matrices[:, None, :, 2]


def random_poses(count: int, templates: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Returns noisy, rotated copies of templates in a 128 x 128 frame, with some joints missing."""
    random = np.random.default_rng(seed)
    poses = templates.numpy()[random.integers(0, len(templates), count)].astype(np.float64)
    angle, scale = random.uniform(-1, 1, (count, 1)), random.uniform(10, 250, (count, 1))
    x, y = poses[..., 0] + random.normal(0, 0.02, poses.shape[:2]), poses[..., 1]
    rotated_x = scale * (np.cos(angle) * x - np.sin(angle) * y) + 20
    rotated_y = scale * (np.sin(angle) * x + np.cos(angle) * y) + 10
    seen = (poses[..., 2] > 0) & (random.random(poses.shape[:2]) < 0.8)
    return torch.from_numpy(np.stack((rotated_x, rotated_y, 2.0 * seen), -1))


def random_templates(count: int, joints: int = 17, seed: int = 3) -> torch.Tensor:
    random = np.random.default_rng(seed)
    known = random.random((count, joints, 1)) < 0.9
    return torch.from_numpy(np.concatenate((random.random((count, joints, 2)), known), -1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_original(implementation, dtype):
    data = load_golden("align.npz")
    sizes = data["size_srcWH_dstWH"]
    assert data["stable"].sum() == 500
    for size in np.unique(sizes, axis=0):
        rows = (sizes == size).all(1) & data["stable"]
        poses = data["poses"][rows]
        matrices, index, score = implementation.fit_pose_templates(
            torch.from_numpy(poses).to(implementation.device, dtype),
            torch.from_numpy(data["templates"]).to(implementation.device, dtype),
            (size[1], size[0]),
            (size[3], size[2]),
        )
        np.testing.assert_array_equal(index.cpu(), data["template_index"][rows])
        np.testing.assert_allclose(score.cpu(), data["score"][rows], atol=1e-6)
        moved = np.abs(apply(matrices.cpu().double().numpy(), poses) - apply(data["matrix"][rows, :2], poses))
        assert moved[poses[..., 2] > 0].max() < 0.1


@pytest.mark.parametrize("score", ["overlap", "norm"])
def test_equals_a_linear_solver(implementation, score):
    templates = random_templates(4)
    poses = random_poses(40, templates)
    matrices, index, best = implementation.fit_pose_templates(
        poses.to(implementation.device),
        templates.to(implementation.device),
        (128, 128),
        (64, 48),
        score=score,
    )
    fallback = 48 / 128
    for pose, matrix, chosen, value in zip(
        poses.numpy(), matrices.cpu(), index.tolist(), best.tolist(), strict=True
    ):
        expected = {}
        for t, template in enumerate(templates.numpy()):
            seen, known = pose[:, 2] > 0, template[:, 2] > 0
            if (seen & known).sum() < 3 or (seen & ~known).any():
                continue
            similarity, residuals = oracles.fit_similarity(pose, template)
            scale = np.hypot(*similarity[0, :2]) * np.sqrt(64 * 48)
            overlap = np.exp(-(residuals**2) / 2).mean() * (seen & known).sum() / (seen | known).sum()
            agreement = overlap if score == "overlap" else np.exp(-np.linalg.norm(residuals))
            if scale > fallback:
                expected[t] = agreement, similarity * [[48], [64]]
        if not expected:
            assert (chosen, value) == (-1, 0)
            np.testing.assert_allclose(matrix, [[fallback, 0, 0], [0, fallback, 8]], atol=1e-12)
            continue
        assert chosen == max(expected, key=lambda t: expected[t][0])
        assert value == pytest.approx(expected[chosen][0], abs=1e-9)
        np.testing.assert_allclose(matrix, expected[chosen][1], atol=1e-7)
    assert (index >= 0).sum() > 10
    assert (index < 0).any()


def test_the_first_of_equal_templates_wins(implementation):
    template = random_templates(1)
    templates = template.expand(70, -1, -1).to(implementation.device)
    pose = (template * torch.tensor([50.0, 50.0, 2.0], dtype=torch.float64)).to(implementation.device)
    _, index, score = implementation.fit_pose_templates(pose, templates, (128, 128), (64, 64))
    assert index.item() == 0
    assert score.item() == pytest.approx(1.0)


def near_ties(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns poses, some without noise, and templates: equal, nearly equal and different ones."""
    families = random_templates(5, seed=seed)
    random = np.random.default_rng(seed)
    templates = families.repeat_interleave(9, 0)
    step = np.repeat(10.0 ** -random.integers(1, 17, len(templates)), 17)
    step[:17] = 0
    noise = random.normal(0, 1, (len(templates), 17, 2)) * step.reshape(-1, 17, 1)
    templates[..., :2] += torch.from_numpy(noise)
    templates = torch.cat((templates, templates[::4]))[random.permutation(57)]
    poses = random_poses(60, templates, seed)
    exact = families[random.integers(0, 5, 20)] * torch.tensor([90.0, 90.0, 2.0], dtype=torch.float64)
    far = poses[:20] + torch.tensor([1e6, -1e7, 0.0], dtype=torch.float64)
    return torch.cat((poses, exact, far)), templates


@pytest.mark.parametrize("score", ["overlap", "norm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_pruning_never_skips_the_best_template(backend, score, dtype, seed):
    """Compares the pruned search with the best of the templates fitted one by one."""
    if seed > 0 and backend.name == "emulated":
        pytest.skip("only the CPU kernel prunes")
    poses, templates = (tensor.to(backend.device, dtype) for tensor in near_ties(seed))
    options = {"source_size": (128, 128), "output_size": (64, 48), "score": score}
    matrices, index, best = backend.fit_pose_templates(poses, templates, **options)
    alone = [backend.fit_pose_templates(poses, one[None], **options) for one in templates]
    scores = torch.stack([score for _, _, score in alone]).cpu().numpy()
    np.testing.assert_array_equal(best.cpu(), scores.max(0))
    fitted = (index >= 0).cpu().numpy()
    assert fitted.sum() > 20
    np.testing.assert_array_equal(fitted, scores.max(0) > 0)
    if dtype == torch.float64:  # in float32, different scores may be stored as equal
        np.testing.assert_array_equal(index.cpu().numpy()[fitted], scores.argmax(0)[fitted])
    rows = range(len(poses))
    expected = torch.stack([alone[t][0][row] for row, t in zip(rows, index.tolist(), strict=True)])
    assert torch.equal(matrices, expected)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
def test_any_number_of_templates(backend, count):
    templates = random_templates(count)
    poses = random_poses(20, random_templates(3)).to(backend.device)
    result = backend.fit_pose_templates(poses, templates.to(backend.device), (128, 128), (64, 64))
    expected = reference.fit_pose_templates(poses, templates.to(backend.device), (128, 128), (64, 64))
    assert torch.equal(result[1], expected[1])
    torch.testing.assert_close(result[0], expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(result[2], expected[2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "pose",
    [
        [[torch.nan, 1.0, 2.0]] * 17,
        [[torch.inf, 1.0, 2.0]] * 17,
        [[40.0, 40.0, 0.0]] * 17,
        [[40.0, 40.0, 2.0]] * 2 + [[0.0, 0.0, 0.0]] * 15,
        [[0.0, 0.0, 2.0]] * 17,
    ],
    ids=["nan", "infinite", "nothing visible", "two joints", "all at the origin"],
)
def test_a_pose_that_cannot_be_fitted_is_letterboxed(implementation, pose):
    templates = random_templates(2)
    templates[..., 2] = 1
    matrices, index, score = implementation.fit_pose_templates(
        torch.tensor([pose], dtype=torch.float64, device=implementation.device),
        templates.to(implementation.device),
        (128, 64),
        (64, 64),
    )
    assert (index.item(), score.item()) == (-1, 0)
    assert matrices[0].tolist() == [[0.5, 0, 16], [0, 0.5, 0]]


@pytest.mark.parametrize("joints", [0, 17])
def test_templates_without_joints_fit_nothing(implementation, joints):
    templates = torch.zeros(2, joints, 3, dtype=torch.float64, device=implementation.device)
    poses = random_poses(3, random_templates(2, joints)).to(implementation.device)
    matrices, index, score = implementation.fit_pose_templates(poses, templates, (128, 128), (64, 64))
    assert index.tolist() == [-1] * 3
    assert score.tolist() == [0] * 3
    assert matrices.tolist() == [[[0.5, 0, 0], [0, 0.5, 0]]] * 3


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e300])
def test_a_template_that_is_not_finite_fits_nothing(implementation, value):
    templates = random_templates(2).to(implementation.device)
    templates[..., 2] = 1
    poses = random_poses(5, templates.cpu()).to(implementation.device)
    arguments = (128, 128), (64, 64)
    expected = implementation.fit_pose_templates(poses, templates[1:], *arguments)
    templates[0, 3, 0] = value
    matrices, index, score = implementation.fit_pose_templates(poses, templates, *arguments)
    assert torch.equal(matrices, expected[0])
    assert torch.equal(index, torch.where(expected[1] == 0, 1, -1))
    assert torch.equal(score, expected[2])


def test_coinciding_joints_give_the_minimum_norm_similarity(implementation):
    templates = random_templates(1)
    templates[..., 2] = 1
    pose = np.tile([40.0, 41.0, 2.0], (17, 1))
    matrices, index, _ = implementation.fit_pose_templates(
        torch.from_numpy(pose)[None].to(implementation.device),
        templates.to(implementation.device),
        (128, 128),
        (128, 128),
    )
    minimum_norm, _ = oracles.fit_similarity(pose, templates[0].numpy())
    assert index.item() == 0
    np.testing.assert_allclose(matrices[0].cpu(), 128 * minimum_norm, atol=1e-9)


@pytest.mark.parametrize("scale", [1e160, 1e-170])
def test_a_pose_whose_square_is_beyond_float64_fits_nothing(implementation, scale):
    templates = random_templates(3)
    poses = (templates * torch.tensor([scale, scale, 1.0], dtype=torch.float64)).to(implementation.device)
    *fits, index, best = implementation.fit_pose_templates(
        poses, templates.to(implementation.device), (100, 100), (64, 64)
    )
    assert index.tolist() == [-1] * 3
    assert best.tolist() == [0] * 3
    assert fits[0].isfinite().all()


def test_no_poses(implementation):
    poses = torch.zeros(0, 17, 3, device=implementation.device)
    templates = random_templates(2).float().to(implementation.device)
    matrices, index, score = implementation.fit_pose_templates(poses, templates, (128, 128), (64, 64))
    assert (matrices.shape, index.shape, score.shape) == ((0, 2, 3), (0,), (0,))


# The range in which templates are documented to lie; with a joint at 1e30, rounding would hide the others.
unit_square = (0.0, -0.0, 1e-45, 1e-30, 0.5, 1.0, torch.nan, torch.inf, -torch.inf)


@many_cases(
    seed=seeds,
    joints=st.integers(0, 17),
    templates=st.integers(0, 4),
    spiked_poses=spikes(),
    spiked_templates=spikes(*unit_square),
    source=sizes(200),
    output=sizes(64),
    score=st.sampled_from(("overlap", "norm")),
    dtype=st.sampled_from((torch.float64, torch.float32)),
    kind=memory,
)
def test_agrees_with_the_reference_on_any_poses(
    backend, seed, joints, templates, spiked_poses, spiked_templates, source, output, score, dtype, kind
):
    known = random_templates(templates, joints, seed)
    poses = random_poses(3, known if templates else random_templates(2, joints), seed)
    poses, known = put(spiked_poses, poses.to(dtype)), put(spiked_templates, known.to(dtype))
    strided = [in_memory(kind, tensor.to(backend.device)) for tensor in (poses, known)]
    matrices, index, best = backend.fit_pose_templates(*strided, source, output, score=score)
    expected = reference.fit_pose_templates(poses.double(), known.double(), source, output, score=score)
    assert (best >= 0).all()
    assert (best <= 1 + 1e-6).all()
    torch.testing.assert_close(best.cpu().double(), expected[2], rtol=1e-6, atol=1e-6)
    assert torch.equal(index.cpu(), expected[1])
    rounding = 1e-6 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(matrices.cpu().double(), expected[0], rtol=rounding, atol=1e-3 * rounding)


def test_passes_opcheck(backend):
    templates = random_templates(4)
    arguments = random_poses(5, templates).to(backend.device), templates.to(backend.device)
    operator = backend.operators.fit_pose_templates.default
    torch.library.opcheck(operator, (*arguments, (128, 128), (64, 48), "overlap"))


def test_compiles_without_graph_breaks_for_any_number_of_poses(backend):
    templates = random_templates(4).to(backend.device)
    compiled = torch.compile(
        lambda poses: backend.fit_pose_templates(poses, templates, (128, 128), (64, 48)),
        fullgraph=True,
        backend="aot_eager",
    )
    for count in (2, 3, 5):
        poses = random_poses(count, templates.cpu()).to(backend.device)
        expected = backend.fit_pose_templates(poses, templates, (128, 128), (64, 48))
        for actual, wanted in zip(compiled(poses), expected, strict=True):
            assert torch.equal(actual, wanted)


@pytest.mark.filterwarnings("ignore:Error detected in")
def test_a_compiled_fit_has_no_gradient(backend):
    templates = random_templates(4).to(backend.device)
    fit = torch.compile(backend.fit_pose_templates, fullgraph=True, backend="aot_eager")
    poses = random_poses(3, templates.cpu()).to(backend.device).requires_grad_()
    with pytest.raises(Exception, match="fit_pose_templates has no gradient"):
        fit(poses, templates, (128, 128), (64, 48))[0].sum().backward()


@pytest.mark.parametrize("wanted", [0, 1])
def test_forward_mode_is_refused(backend, wanted):
    templates = random_templates(4)
    tensors = [random_poses(3, templates).to(backend.device), templates.to(backend.device)]
    with forward_ad.dual_level():
        tensors[wanted] = forward_ad.make_dual(tensors[wanted], torch.ones_like(tensors[wanted]))
        with pytest.raises(NotImplementedError, match="forward mode AD"):
            backend.fit_pose_templates(*tensors, (128, 128), (64, 48))
        detached = [tensor.detach() for tensor in tensors]
        backend.fit_pose_templates(*detached, (128, 128), (64, 48))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"keypoints": torch.zeros(17, 3)}, ValueError, r"keypoints must be \(N, K, 3\), got \(17, 3\)"),
        ({"keypoints": torch.zeros(1, 17, 3).long()}, TypeError, "keypoints must be float32 .* got int64"),
        ({"templates": torch.zeros(2, 14, 3)}, ValueError, r"templates must be \(T, 17, 3\), with .* got \(2, 14, 3\)"),
        ({"templates": torch.zeros(2, 17, 3).double()}, TypeError, "templates must be float32 .* got float64"),
        ({"keypoints": torch.zeros(1, 17, 2)}, ValueError, r"keypoints must be \(N, K, 3\), got \(1, 17, 2\)"),
        ({"keypoints": torch.zeros(1, 17, 3).half()}, TypeError, "keypoints must be float32 or float64, got float16"),
        ({"keypoints": torch.zeros(1, 17, 3, device="meta")}, ValueError, "templates must be on meta as keypoints is, got cpu"),
        ({"keypoints": torch.zeros(1, 17, 3).requires_grad_()}, NotImplementedError, "fit_pose_templates has no gradient, and keypoints requires one"),
        ({"templates": torch.zeros(17, 3)}, ValueError, r"templates must be \(T, 17, 3\), with .* got \(17, 3\)"),
        ({"templates": torch.zeros(2, 17, 3, device="meta")}, ValueError, "templates must be on cpu as keypoints is, got meta"),
        ({"templates": torch.zeros(2, 17, 3).requires_grad_()}, NotImplementedError, "fit_pose_templates has no gradient, and templates requires one"),
        ({"output_size": (4, 0)}, ValueError, r"output_size must be a positive \(height, width\), got \(4, 0\)"),
        ({"source_size": (-1, 1)}, ValueError, r"source_size must be a positive \(height, width\), got \(-1, 1\)"),
        ({"source_size": (0, 1)}, ValueError, r"source_size must be a positive \(height, width\), got \(0, 1\)"),
        ({"output_size": (1, 2, 3)}, TypeError, r"output_size must be \(height, width\), two integers, got \(1, 2, 3\)"),
        ({"score": "best"}, ValueError, "score must be 'overlap' or 'norm', got 'best'"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, message):
    arguments = {
        "keypoints": torch.zeros(1, 17, 3),
        "templates": torch.zeros(2, 17, 3),
        "source_size": (128, 128),
        "output_size": (64, 64),
    }
    with pytest.raises(error, match=message):
        fit_pose_templates(**(arguments | change))
