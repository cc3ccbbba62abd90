"""Tests of the model against the original's outputs, and of properties that hold for any weights."""

import copy
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from golden import load_golden
from golden_model import golden_model
from PIL import Image
from pose2seg import Pose2Seg, Segmentation
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.geometry import compose
from pose2seg.network.inference import for_inference
from pose2seg.network.model import ALIGN_SIZE, INPUT_SIZE, Probabilities
from small_model import small_model

from pose2seg_ops import affine_align, encode_rle, fit_pose_templates, letterbox
from pose2seg_ops.keypoints import transform_keypoints

Arrays = dict[str, np.ndarray]


class GoldenImages(NamedTuple):
    """The three golden images as the network sees them."""

    images: list[torch.Tensor]
    poses: list[torch.Tensor]
    batch_index: torch.Tensor
    letterboxes: torch.Tensor
    keypoints: torch.Tensor
    features: torch.Tensor


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Pose2Seg:
    return golden_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def golden_images(official: Pose2Seg) -> GoldenImages:
    inputs = load_golden("e2e_inputs.npz")
    images = [torch.from_numpy(inputs[f"img{i}"]) for i in range(3)]
    poses = [torch.from_numpy(inputs[f"kpts{i}"]) for i in range(3)]
    batch_index = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
    network_input, letterboxes = letterbox(images, INPUT_SIZE, IMAGENET_MEAN, IMAGENET_STD)
    keypoints = transform_keypoints(torch.cat(poses), letterboxes[batch_index])
    with torch.inference_mode():
        features = official.backbone(network_input)
    return GoldenImages(images, poses, batch_index, letterboxes, keypoints, features)


def segment(model: Pose2Seg, golden_images: GoldenImages) -> Segmentation:
    with torch.inference_mode():
        return model.segment(golden_images.features, golden_images.keypoints, golden_images.batch_index)


@pytest.fixture(scope="module")
def found(official: Pose2Seg, golden_images: GoldenImages) -> Segmentation:
    return segment(official, golden_images)


def predict(model: Pose2Seg, golden_images: GoldenImages) -> list[npt.NDArray[np.bool_]]:
    return [
        masks.numpy() for masks in model.predict(golden_images.images, golden_images.poses, threshold=0.5)
    ]


@pytest.fixture(scope="module")
def masks(official: Pose2Seg, golden_images: GoldenImages) -> list[npt.NDArray[np.bool_]]:
    return predict(official, golden_images)


def intersections_over_unions(masks: list[npt.NDArray[np.bool_]], golden: Arrays) -> npt.NDArray[np.float64]:
    """Returns the IoU of each person."""
    figures = []
    for i, ours in enumerate(masks):
        theirs = golden[f"masks{i}"] > 0
        assert ours.shape == theirs.shape
        figures += [(a & b).sum() / (a | b).sum() for a, b in zip(ours, theirs, strict=True)]
    return np.array(figures)


def meets(logits: torch.Tensor, masks: list[npt.NDArray[np.bool_]], golden: Arrays) -> bool:
    """Fails if masks are not those of the original, up to a tolerance."""
    close = np.abs(logits.numpy() - golden["logits"]).max() <= 0.1
    return bool(close and intersections_over_unions(masks, golden).min() >= 0.985)


def test_the_official_weights_give_the_original_result(
    official: Pose2Seg, found: Segmentation, masks: list[npt.NDArray[np.bool_]]
) -> None:
    assert official.convention == "pose2seg"
    assert meets(found.logits, masks, load_golden("e2e.npz"))
    assert not meets(found.logits, masks, load_golden("e2e_must_differ.npz"))


def test_prepared_for_prediction_it_gives_the_same_masks(
    official: Pose2Seg, golden_images: GoldenImages, masks: list[npt.NDArray[np.bool_]]
) -> None:
    expected = {f"masks{i}": of_image for i, of_image in enumerate(masks)}
    folded = predict(for_inference(official), golden_images)
    assert intersections_over_unions(folded, expected).min() >= 0.995


def test_the_sampling_of_later_torch_releases_gives_other_masks(
    official: Pose2Seg, golden_images: GoldenImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(official, "convention", "half_pixel")
    monkeypatch.setattr(official.backbone, "forward", lambda _: golden_images.features)
    logits, masks = segment(official, golden_images).logits, predict(official, golden_images)
    assert meets(logits, masks, load_golden("e2e_must_differ.npz"))
    assert not meets(logits, masks, load_golden("e2e.npz"))


def test_every_stage_equals_the_original_one(
    official: Pose2Seg, golden_images: GoldenImages, found: Segmentation
) -> None:
    golden = load_golden("e2e.npz")

    def assert_close(ours: torch.Tensor, theirs: npt.NDArray[np.float32], tolerance: float) -> None:
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=tolerance)

    assert_close(golden_images.letterboxes, golden["inputMatrixs"][:, :2], 1e-5)
    # Features are of the order of 10; OpenCV rounds positions in the image to 1/32 pixel.
    assert_close(golden_images.features[:, ::8, ::8, ::8], golden["feature_s8"], 0.05)

    visible = golden_images.keypoints[..., 2] > 0
    keypoints = golden_images.keypoints * torch.tensor([0.25, 0.25, 1])
    assert_close(keypoints[visible], golden["kpts_feat"][visible.numpy()], 1e-4)
    matrices, index, score = fit_pose_templates(keypoints, official.templates, (128, 128), ALIGN_SIZE)
    assert index.tolist() == golden["template_index"].tolist()
    assert_close(score, golden["align_score"], 1e-6)
    assert_close(matrices, golden["featAlignMatrixs"][:, :2], 1e-3)
    aligned = transform_keypoints(keypoints, matrices)
    assert_close(aligned[visible], golden["kpts_align"][visible.numpy()], 1e-3)

    rois = affine_align(
        golden_images.features, matrices, golden_images.batch_index, ALIGN_SIZE, convention="pose2seg"
    )
    assert_close(rois[:, ::8, ::4, ::4], golden["rois_s8"], 0.05)
    to_input = golden_images.letterboxes[golden_images.batch_index]
    assert_close(compose(found.matrices, to_input), golden["maskAlignMatrixs"][:, :2], 1e-3)
    assert_close(found.logits.softmax(1), golden["softmax"], 0.02)


TEMPLATES = torch.rand(2, 17, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([0, 0, 1])
SIZES = ((48, 64), (90, 30), (33, 57))

Ragged: TypeAlias = tuple[list[torch.Tensor], list[torch.Tensor]]


@pytest.fixture(scope="module")
def small() -> Pose2Seg:
    """Returns a small random model with varied masks."""
    torch.manual_seed(0)
    model = small_model(TEMPLATES).eval()
    prediction = model.segnet.pred_small
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 64, 64), people(4, 64, 64), torch.zeros(4, dtype=torch.int64)).logits
        gain = 4 / (logits[:, 1] - logits[:, 0]).std()
        prediction.weight *= gain
        assert prediction.bias is not None
        prediction.bias.copy_(gain * (prediction.bias - logits.mean((0, 2, 3))))
    return model


def people(count: int, height: int, width: int) -> torch.Tensor:
    """Returns poses (count, 17, 3) like the templates, a third as large as the image, of every visibility."""
    size = torch.tensor([width, height])
    poses = TEMPLATES[torch.randint(0, len(TEMPLATES), (count,)), :, :2] + 0.05 * torch.randn(count, 17, 2)
    positions = size * (poses / 3 + torch.rand(count, 1, 2) * 2 / 3)
    return torch.cat([positions, torch.randint(0, 3, (count, 17, 1))], dim=2)


@pytest.fixture(scope="module")
def ragged() -> Ragged:
    """Returns images of three sizes with 2, 0 and 5 people."""
    torch.manual_seed(1)
    images = [torch.randint(0, 256, (*size, 3), dtype=torch.uint8) for size in SIZES]
    return images, [people(count, *size) for count, size in zip((2, 0, 5), SIZES, strict=True)]


def test_each_image_has_masks_of_its_size(small: Pose2Seg, ragged: Ragged) -> None:
    masks = small.predict(*ragged)
    assert [tuple(m.shape) for m in masks] == [(2, 48, 64), (0, 90, 30), (5, 33, 57)]
    assert all(m.dtype == torch.bool for m in masks)
    assert 0 < torch.cat([m.flatten() for m in masks]).float().mean() < 1


def test_run_lengths_are_those_of_the_masks(small: Pose2Seg, ragged: Ragged) -> None:
    assert small.predict_rle(*ragged) == [encode_rle(masks) for masks in small.predict(*ragged)]


def test_a_batch_gives_the_masks_of_single_images(small: Pose2Seg, ragged: Ragged) -> None:
    together = small.predict(*ragged)
    alone = [small.predict([image], [poses])[0] for image, poses in zip(*ragged, strict=True)]
    for a, b in zip(together, alone, strict=True):
        assert (a != b).sum() <= 1e-3 * a.numel()


def test_the_number_of_people_per_pass_changes_nothing(
    small: Pose2Seg,
    ragged: Ragged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = small.predict(*ragged)
    monkeypatch.setattr(small, "people_per_pass", 3)
    sizes = []
    hook = small.segnet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    in_passes = small.predict(*ragged)
    hook.remove()
    assert sizes == [3, 3, 1]
    for a, b in zip(at_once, in_passes, strict=True):
        assert (a != b).sum() <= 1e-3 * a.numel()


def test_images_without_people_have_no_masks(small: Pose2Seg) -> None:
    images = [torch.zeros(*size, 3, dtype=torch.uint8) for size in SIZES]
    masks = small.predict(images, [torch.zeros(0, 17, 3)] * 3)
    assert [tuple(m.shape) for m in masks] == [(0, *size) for size in SIZES]


def test_predict_takes_numpy_arrays(small: Pose2Seg, ragged: Ragged) -> None:
    images, poses = ragged
    arrays = small.predict([image.numpy() for image in images], [pose.double().numpy() for pose in poses])
    for a, b in zip(arrays, small.predict(images, poses), strict=True):
        assert torch.equal(a, b)


def test_predict_takes_one_image_in_any_form(small: Pose2Seg, ragged: Ragged, tmp_path: Path) -> None:
    image, poses = ragged[0][0].numpy(), ragged[1][0]
    (expected,) = small.predict([image], [poses])
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image)
    opacity = np.full((*image.shape[:2], 1), 100, np.uint8)
    forms = {
        "array": image,
        "tensor": torch.from_numpy(image),
        "path": path,
        "name": str(path),
        "PIL": Image.open(path),
        "PIL with opacity": Image.fromarray(image[..., ::-1].copy()).convert("RGBA"),
        "with opacity": np.concatenate([image, opacity], axis=2),
    }
    for name, form in forms.items():
        for masks in (*small.predict(form, poses), *small.predict([form], [poses])):
            assert torch.equal(masks, expected), name
    assert small.predict_rle(path, poses) == [encode_rle(expected)]


def test_predict_takes_grey_images(small: Pose2Seg, ragged: Ragged) -> None:
    grey, poses = ragged[0][0].numpy()[..., 1], ragged[1][0]
    (expected,) = small.predict([np.dstack([grey] * 3)], [poses])
    for form in (grey, grey[..., None], torch.from_numpy(grey.copy()), Image.fromarray(grey)):
        (masks,) = small.predict(form, poses)
        assert torch.equal(masks, expected)


@pytest.mark.parametrize("number", [0.87, -1.0, 3.0, float("nan")])
def test_confidences_are_not_visibilities(small: Pose2Seg, ragged: Ragged, number: float) -> None:
    images, (first, second, third) = ragged
    third = third.clone()
    third[4, 3, 2] = number
    message = rf"^keypoints\[2\] must have visibilities 0, 1 or 2 as third numbers, got {number:g}: if these are confidences, "
    for of_third in (third, third.double().numpy(), third.tolist()):
        with pytest.raises(ValueError, match=message):
            small.predict(images, [first, second, of_third])


def test_pil_images_of_more_than_8_bits_are_rejected(small: Pose2Seg) -> None:
    image = Image.fromarray(np.zeros((8, 9), np.uint16))
    with pytest.raises(
        ValueError, match=r"^images must have 8 bits per channel, got a PIL image of mode I;16$"
    ):
        small.predict(image, [])


def test_the_quality_is_the_expected_iou() -> None:
    """Compares with masks whose pixels are drawn with their probabilities."""
    torch.manual_seed(0)
    probabilities = torch.rand(3, 12, 12) ** torch.tensor([0.3, 1.0, 3.0])[:, None, None]
    probabilities = torch.cat([probabilities, torch.zeros(1, 12, 12), torch.ones(1, 12, 12)])
    pasted = Probabilities(probabilities, torch.eye(2, 3).expand(5, 2, 3), torch.zeros(5), [(12, 12)])
    for threshold in (0.3, 0.5):
        mask = probabilities > threshold
        people = torch.rand(4000, *probabilities.shape) < probabilities
        in_either = (people | mask).sum((2, 3))
        ious = ((people & mask).sum((2, 3)) / in_either.clamp(min=1)).mean(0)
        torch.testing.assert_close(pasted.quality(threshold), ious, atol=0.01, rtol=0)


def logits_of(model: Pose2Seg, ragged: Ragged) -> torch.Tensor:
    """Returns the probabilities that `predict` pastes."""
    passes: list[torch.Tensor] = []
    hook = model.segnet.register_forward_hook(lambda _, inputs, output: passes.append(output))
    model.predict(*ragged)
    hook.remove()
    return torch.cat(passes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_a_model_can_be_cast(small: Pose2Seg, ragged: Ragged, dtype: torch.dtype) -> None:
    cast = copy.deepcopy(small).to(dtype)
    expected, found = logits_of(small, ragged), logits_of(cast, ragged)
    assert found.dtype == dtype
    # A few tens of roundings in the coarser of the two dtypes.
    precision = max(torch.finfo(dtype).eps, torch.finfo(expected.dtype).eps)
    assert (found - expected).abs().max() <= 32 * precision * expected.abs().max()
    images, poses = ragged
    for people_of in (poses, [torch.zeros(0, 17, 3)] * 3):
        masks = cast.predict(images, people_of)
        assert [tuple(m.shape) for m in masks] == [
            (len(p), *s) for p, s in zip(people_of, SIZES, strict=True)
        ]


def test_templates_stay_precise_in_a_model_of_half_precision() -> None:
    model = small_model(TEMPLATES)
    assert torch.equal(model.bfloat16().templates, TEMPLATES)
    assert model.to("meta").templates.device.type == "meta"


def test_predict_takes_arrays_of_any_strides(
    small: Pose2Seg, ragged: Ragged, recwarn: pytest.WarningsRecorder
) -> None:
    images, poses = ragged
    flipped = [np.ascontiguousarray(image.numpy()[..., ::-1])[..., ::-1] for image in images]
    backwards = [np.ascontiguousarray(pose.numpy()[:, ::-1])[:, ::-1] for pose in poses]
    flipped[0] = np.frombuffer(images[0].numpy().tobytes(), np.uint8).reshape(images[0].shape)  # read-only
    for a, b in zip(small.predict(flipped, backwards), small.predict(images, poses), strict=True):
        assert torch.equal(a, b)
    assert not recwarn.list


def test_an_empty_list_stands_for_no_people(small: Pose2Seg, ragged: Ragged) -> None:
    images, poses = ragged
    for a, b in zip(small.predict(images, [poses[0], [], poses[2]]), small.predict(*ragged), strict=True):
        assert torch.equal(a, b)
    assert [tuple(m.shape) for m in small.predict(images[:1], [[]])] == [(0, 48, 64)]


def test_a_higher_threshold_gives_smaller_masks(small: Pose2Seg, ragged: Ragged) -> None:
    loose, middle, strict = (
        torch.cat([m.flatten() for m in small.predict(*ragged, threshold=t)]) for t in (0.2, 0.5, 0.8)
    )
    assert loose.sum() > middle.sum() > strict.sum() > 0
    assert not (strict & ~middle).any()
    assert not (middle & ~loose).any()


def test_the_second_channel_is_the_person(
    small: Pose2Seg, ragged: Ragged, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bias, person in (([-1e4, 1e4], True), ([1e4, -1e4], False)):
        parameter = torch.nn.Parameter(torch.tensor(bias))
        monkeypatch.setitem(small.segnet.pred_small._parameters, "bias", parameter)
        assert any(masks.any() for masks in small.predict(*ragged)) == person


def test_missing_joints_have_no_influence(small: Pose2Seg, ragged: Ragged) -> None:
    images, poses = ragged
    moved = [torch.where(pose[..., 2:] == 0, pose + torch.tensor([7.0, -9.0, 0.0]), pose) for pose in poses]
    for a, b in zip(small.predict(images, poses), small.predict(images, moved), strict=True):
        assert torch.equal(a, b)


def test_matrices_map_the_input_to_the_drawn_skeleton(
    small: Pose2Seg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The confidence map of a joint peaks at the position to which `Segmentation.matrices` move it."""
    torch.manual_seed(2)
    keypoints = people(3, 128, 128)
    keypoints[..., 2] = 2
    rois = []
    hook = small.segnet.register_forward_pre_hook(lambda _, inputs: rois.append(inputs[0]))
    with torch.inference_mode():
        found = small(torch.rand(1, 3, 128, 128), keypoints, torch.zeros(3, dtype=torch.int64))
    hook.remove()
    scales = torch.linalg.vector_norm(found.matrices[:, 0, :2], dim=1)
    assert (scales > 64 / 128 + 1e-3).all(), "all three should fit a template"
    expected = transform_keypoints(keypoints, found.matrices)[..., :2]
    maps = rois[0][:, 8 : 8 + 17]
    flat = maps.flatten(2).argmax(2)
    peaks = torch.stack([flat % 64, flat // 64], dim=-1)
    inside = ((expected >= 0) & (expected <= 63)).all(-1)
    assert inside.sum() > 20
    assert (peaks - expected)[inside].abs().max() <= 0.5 + 1e-3


def test_templates_are_not_weights(small: Pose2Seg) -> None:
    assert not any("templates" in key for key in small.state_dict())


def test_bad_arguments_are_named(small: Pose2Seg) -> None:
    image = torch.zeros(8, 8, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"images must hold at least one image, got none"):
        small.predict([], [])
    with pytest.raises(ValueError, match=r"keypoints must be one array per image, got 2 for 1 images"):
        small.predict([image], [torch.zeros(0, 17, 3)] * 2)
    with pytest.raises(ValueError, match=r"keypoints\[0\] must be \(n, 17, 3\), got \(17, 3\)"):
        small.predict([image], [torch.zeros(17, 3)])
    with pytest.raises(ValueError, match=r"templates must be \(T, 17, 3\), T > 0, got \(17, 3\)"):
        Pose2Seg(torch.zeros(17, 3))
    with pytest.raises(ValueError, match=r"convention must be one of integer, .*, got 'pixel'"):
        Pose2Seg(TEMPLATES, convention="pixel")  # type: ignore[arg-type]
    small.train()
    try:
        with pytest.raises(RuntimeError, match=r"call model.eval\(\) first"):
            small.predict([image], [torch.zeros(0, 17, 3)])
    finally:
        small.eval()
