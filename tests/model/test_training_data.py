"""Tests of the samples and batches of a training: geometry, targets, randomness."""

import math
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from people import draw_dataset
from pose2seg.common.errors import InputError
from pose2seg.data.dataset import PersonImage
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.templates import MIRRORED
from pose2seg.training.augmentation import (
    Augmentation,
    Box,
    Crop,
    OriginalSimilarity,
    Similarity,
    compose,
    is_inside,
    letterbox_matrix,
    transform_poses,
)
from pose2seg.training.loader import Batch, BatchSampler, Draw, TrainingSamples, make_loader
from pose2seg.training.recipe import Recipe
from pose2seg.training.targets import mask_targets, network_input
from shared_data import real_images

from pose2seg_ops import COCO_KEYPOINTS, letterbox

CPU = torch.device("cpu")
PLAIN = Recipe(augmentation=Augmentation(align=Similarity()), input_size=128)
WILD = Augmentation(
    align=Similarity(30, (0.8, 1.2), 0.1),
    input=Similarity(20, (0.5, 2), 0.2),
    flip=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
)


@pytest.fixture
def images(tmp_path: Path) -> list[PersonImage]:
    return draw_dataset(tmp_path)


def batch_of(images: list[PersonImage], recipe: Recipe, epoch: int = 0) -> Batch:
    """Draws all images and people, in their order."""
    draws = [Draw(epoch, i, [*range(len(image.people))]) for i, image in enumerate(images)]
    sampler: Any = [draws]
    (batch,) = make_loader(images, recipe, sampler, workers=0, device=CPU)
    return batch


def assert_equal(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    elif isinstance(first, (list, tuple)):
        for a, b in zip(first, second, strict=True):
            assert_equal(a, b)
    else:
        assert first == second


@pytest.mark.parametrize(("kind", "median"), [(Similarity, math.sqrt(0.75)), (OriginalSimilarity, 1)])
def test_similarities_stay_in_their_range(kind: type[Similarity], median: float) -> None:
    rng = np.random.default_rng(0)
    similarity = kind(angle=30, scale=(0.5, 1.5), shift=0.1)
    drawn = [similarity.draw(rng, (64, 32)) for _ in range(2000)]
    linear = np.stack(drawn)[:, :, :2]
    scales = np.sqrt(np.linalg.det(linear))
    np.testing.assert_allclose(
        linear @ linear.transpose(0, 2, 1), scales[:, None, None] ** 2 * np.eye(2), atol=1e-12
    )
    assert np.median(scales) == pytest.approx(median, abs=0.03)
    angles = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    shifts = np.stack([matrix @ (16, 32, 1) for matrix in drawn]) - (16, 32)  # of the centre
    for values, low, high in (
        (scales, 0.5, 1.5),
        (angles, -30, 30),
        (shifts[:, 0], -3.2, 3.2),
        (shifts[:, 1], -6.4, 6.4),
    ):
        assert low <= values.min() < low + 0.03 * (high - low)
        assert high - 0.03 * (high - low) < values.max() <= high


@pytest.mark.parametrize("size", [(96, 128), (50, 20), (7, 512)])
def test_the_letterbox_is_that_of_the_op(size: tuple[int, int]) -> None:
    _, matrices = letterbox([torch.zeros(*size, 3, dtype=torch.uint8)], 64, (0, 0, 0), (1, 1, 1))
    np.testing.assert_allclose(letterbox_matrix(size, 64), matrices[0], rtol=1e-6)


def test_without_augmentation_the_input_is_that_of_a_prediction(images: list[PersonImage]) -> None:
    expected, _ = letterbox([torch.from_numpy(i.read()) for i in images], 128, IMAGENET_MEAN, IMAGENET_STD)
    found = network_input(batch_of(images, PLAIN), 128)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_augmented_inputs_equal_warps_of_opencv(images: list[PersonImage]) -> None:
    batch = batch_of(
        images, replace(PLAIN, augmentation=replace(WILD, brightness=0, contrast=0, saturation=0))
    )
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    for image, matrix, found in zip(images, batch.to_input, network_input(batch, 128), strict=True):
        warped = cv2.warpAffine(
            image.read()[:, :, ::-1].astype(np.float64), matrix.double().numpy(), (128, 128)
        )
        expected = (warped / 255 - mean) / std
        # OpenCV rounds positions to 1/32 pixel, which matters at the edges of the drawn people.
        assert np.abs(found.permute(1, 2, 0).numpy() - expected).mean() < 0.02


def test_joints_are_moved_and_swapped_with_the_image(images: list[PersonImage]) -> None:
    recipe = replace(PLAIN, augmentation=WILD)
    mirrored = set()
    for epoch in range(8):
        batch = batch_of(images, recipe, epoch)
        for image, matrix, found in zip(
            images, batch.to_input.double(), batch.keypoints.split([1, 2, 3]), strict=True
        ):
            flipped = bool(torch.linalg.det(matrix[:, :2]) < 0)
            mirrored.add(flipped)
            keypoints = torch.from_numpy(image.keypoints).double()
            expected = torch.cat([keypoints[..., :2], torch.ones(len(keypoints), 17, 1)], -1) @ matrix.T
            order = MIRRORED if flipped else list(range(17))
            torch.testing.assert_close(found[..., :2].double(), expected[:, order], rtol=0, atol=1e-3)
            assert torch.equal(found[..., 2].double(), keypoints[:, order, 2])
    assert mirrored == {False, True}


def test_mirroring_swaps_left_and_right_hands() -> None:
    pose = np.zeros((1, 17, 3), np.float32)
    pose[0, COCO_KEYPOINTS.index("left_wrist")] = (3, 5, 2)
    mirrored = transform_poses(pose, np.array([[-1.0, 0, 9], [0, 1, 0]]))
    assert mirrored[0, COCO_KEYPOINTS.index("right_wrist")].tolist() == [6, 5, 2]
    assert (mirrored[0, :, 2] > 0).sum() == 1


def test_the_flip_mirrors_the_image(images: list[PersonImage]) -> None:
    plain, flipped = (
        batch_of(images, replace(PLAIN, augmentation=Augmentation(align=Similarity(), flip=flip)))
        for flip in (0.0, 1.0)
    )
    torch.testing.assert_close(
        network_input(flipped, 128), network_input(plain, 128).flip(3), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("box", [(0.0, 0.0, 10.0, 20.0), (90.0, 30.0, 38.0, 60.0), (0.0, 0.0, 128.0, 96.0)])
def test_crops_contain_the_whole_person(box: Box) -> None:
    rng = np.random.default_rng(0)
    x, y, width, height = box
    person = np.array([[x, x + width] * 2, [y, y, y + height, y + height], [1] * 4])
    crop = Crop(angle=20, scale=(0.5, 1.5))
    drawn = [crop.draw(rng, (96, 128), box, 200) for _ in range(300)]
    scales, angles = [], []
    for matrix in drawn:
        moved = matrix @ person
        assert moved.min() > -1e-9
        assert moved.max() < 200 + 1e-9
        assert is_inside(box, matrix, 200)
        assert not is_inside((x, y, width, height + 400), matrix, 200)
        scales.append(np.sqrt(np.linalg.det(matrix[:, :2])) / (512 / 128))
        angles.append(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    largest = min(1.5, 200 / (512 / 128) / max(width, height))  # a rotated person cannot reach it
    assert 0.5 * min(1, largest) * 0.7 < min(scales) <= max(scales) <= max(largest, 0.5) * 1.001
    assert -20 < min(angles) < -19
    assert 19 < max(angles) < 20


def test_upright_crops_stay_in_the_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        matrix = Crop(scale=(1, 1)).draw(rng, (96, 128), (3, 80, 6, 16), 200)
        edges = matrix @ np.array([[0, 128], [0, 96], [1, 1]])
        assert edges[:, 0].max() < 1e-9  # the image is 512 x 384 there, the crop 200 x 200
        assert edges[:, 1].min() > 200 - 1e-9


def test_a_crop_leaves_out_people_whom_it_cuts(images: list[PersonImage]) -> None:
    recipe = replace(PLAIN, augmentation=Augmentation(input=Crop(scale=(0.1, 1)), flip=0.5))
    counts = set()
    for epoch in range(20):
        sample = TrainingSamples(images, recipe)[Draw(epoch, 2, [1, 0, 2])]
        counts.add(len(sample.keypoints))
        boxes = [images[2].people[i].box for i in (1, 0, 2)]
        shown = [
            i
            for i, box in zip((1, 0, 2), boxes, strict=True)
            if is_inside(box, sample.to_input.double().numpy(), 128)
        ]
        assert shown[0] == 1
        np.testing.assert_array_equal(sample.masks, images[2].masks[shown])
    assert len(counts) > 1


def test_targets_equal_masks_warped_by_opencv(images: list[PersonImage]) -> None:
    batch = batch_of(images, replace(PLAIN, augmentation=WILD))
    # A rotated window around each person's joints.
    windows = []
    for keypoints in batch.keypoints.double().numpy():
        centre = keypoints[:, :2].mean(0)
        windows.append(
            compose(np.array([[1.2, -0.4, 32], [0.4, 1.2, 32]]), np.column_stack([np.eye(2), -centre]))
        )
    targets = mask_targets(batch, torch.tensor(np.stack(windows)).float())
    assert targets.shape == (6, 64, 64)
    assert targets.dtype == torch.int64
    masks = [mask for image in images for mask in image.masks]
    for i, (mask, window, target) in enumerate(zip(masks, windows, targets.numpy(), strict=True)):
        to_align = compose(window, batch.to_input[batch.batch_index[i]].double().numpy())
        expected = cv2.warpAffine(mask.astype(np.float64), to_align, (64, 64)) > 0.5
        assert expected.any()
        assert (expected != (target > 0)).sum() <= 6  # OpenCV rounds positions to 1/32 pixel


def test_colours_change_but_the_geometry_does_not(images: list[PersonImage]) -> None:
    original = images[2].read()
    rng = np.random.default_rng(0)
    assert Augmentation().change_colours(rng, original) is original
    changed = [
        replace(WILD, brightness=b, contrast=c, saturation=s).change_colours(rng, original)
        for b, c, s in ((0.4, 0, 0), (0, 0.4, 0), (0, 0, 0.4))
    ]
    for image in changed:
        assert image.dtype == np.uint8
        assert 0.5 < np.abs(image.astype(float) - original).mean() < 60
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).ravel()
        assert np.corrcoef(grey, cv2.cvtColor(original, cv2.COLOR_BGR2GRAY).ravel())[0, 1] > 0.99
    # Brightness does not change black, contrast not the mean, and saturation not the brightness.
    factor = changed[0].astype(float).sum() / original.sum()
    np.testing.assert_allclose(changed[0], np.clip(original * factor, 0, 255), atol=2)
    assert abs(changed[1].mean() - original.mean()) < 3
    duller, before = (cv2.cvtColor(i, cv2.COLOR_BGR2GRAY).astype(float) for i in (changed[2], original))
    assert np.abs(duller - before).mean() < 1


@pytest.mark.parametrize("counts", [[1] * 10, [3, 1, 9, 2, 2, 1, 4]])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 7, 16])
def test_an_epoch_has_every_image_and_a_limited_number_of_people(counts: list[int], batch_size: int) -> None:
    recipe = Recipe(batch_size=batch_size, people=batch_size + 2)
    sampler = BatchSampler(counts, recipe)
    batches = list(sampler)
    assert len(batches) == len(sampler) == -(-len(counts) // batch_size)
    assert all(len(batch) == batch_size for batch in batches)
    assert {draw.image for batch in batches for draw in batch} == set(range(len(counts)))
    for batch in batches:
        possible = sum(counts[draw.image] for draw in batch)
        assert sum(len(draw.people) for draw in batch) == min(possible, recipe.people)
        for draw in batch:
            assert len(draw.people) >= 1
            assert len(set(draw.people)) == len(draw.people)
            assert max(draw.people) < counts[draw.image]


def test_all_people_are_drawn_equally_often() -> None:
    counts = [4, 4, 4, 4]
    sampler = BatchSampler(counts, Recipe(batch_size=4, people=8))
    seen = np.zeros((4, 4))
    for sampler.epoch in range(400):
        for draw in next(iter(sampler)):
            seen[draw.image, draw.people] += 1
    assert seen.sum() == 400 * 8
    assert np.abs(seen - 200).max() < 5 * np.sqrt(400 / 4)


def test_epochs_and_seeds_differ_and_can_be_repeated() -> None:
    def drawn(seed: int, epoch: int) -> list[list[Draw]]:
        sampler = BatchSampler([3, 1, 9, 2, 2], Recipe(batch_size=2, people=4, seed=seed))
        sampler.epoch = epoch
        return [[draw._replace(epoch=0) for draw in batch] for batch in sampler]

    assert drawn(1, 1) == drawn(1, 1)
    assert drawn(1, 1) != drawn(1, 2)
    assert drawn(1, 1) != drawn(2, 1)


def test_an_epoch_can_start_at_any_step_and_be_shared() -> None:
    recipe = Recipe(batch_size=4, people=8)
    counts = [3, 1, 9, 2, 2, 1, 4, 5, 1]
    whole = list(BatchSampler(counts, recipe))
    later = BatchSampler(counts, recipe)
    later.first_step = 2
    assert list(later) == whole[2:]
    assert len(later) == 1
    shares = [list(BatchSampler(counts, recipe, rank, 3)) for rank in range(3)]
    for step, batch in enumerate(whole):
        shared = [draw for share in shares for draw in share[step]]
        assert sorted(shared, key=batch.index) == batch
        assert all(share[step] for share in shares)


def test_a_sample_depends_only_on_seed_epoch_and_image(images: list[PersonImage]) -> None:
    recipe = replace(PLAIN, augmentation=WILD)
    samples = TrainingSamples(images, recipe)
    first = samples[Draw(3, 2, [0, 2])]
    samples[Draw(0, 1, [0])]
    assert_equal(samples[Draw(3, 2, [0, 2])], first)
    for other in (
        samples[Draw(4, 2, [0, 2])],
        TrainingSamples(images, replace(recipe, seed=1))[Draw(3, 2, [0, 2])],
    ):
        assert not torch.equal(other.to_input, first.to_input)
        assert not torch.equal(other.augmentation, first.augmentation)
        assert not torch.equal(other.image, first.image)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_the_same_batches(images: list[PersonImage], method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    recipe = replace(PLAIN, augmentation=WILD, batch_size=2, people=3)
    sampler = BatchSampler([1, 2, 3], recipe)
    expected = [list(make_loader(images, recipe, sampler, workers=0, device=CPU)) for sampler.epoch in (0, 1)]
    loader = make_loader(images, recipe, sampler, workers=2, device=CPU)
    loader.multiprocessing_context = multiprocessing.get_context(method)
    found = [list(loader) for sampler.epoch in (0, 1)]
    assert_equal(found, expected)
    assert [len(batch.images) for batch in found[0]] == [2, 2]


def test_an_image_that_cannot_be_read_is_replaced_by_the_next_and_reported(images: list[PersonImage]) -> None:
    recipe = replace(PLAIN, augmentation=WILD)
    images[0].path.write_bytes(images[0].path.read_bytes()[:-40])
    images[1].path.unlink()
    samples = TrainingSamples(images, recipe)
    for draw in (Draw(0, 0, [0]), Draw(0, 1, [0, 1])):
        sample = samples[draw]
        assert_equal(sample[:-1], samples[Draw(0, 2, draw.people)][:-1])
        assert len(sample.problems) == 2 - draw.image
        assert "1.png" in sample.problems[-1]
        assert sample.problems[-1].endswith("image 1 is left out")
    assert (
        "0.png: not an image that OpenCV can read; image 0 is left out"
        in samples[Draw(0, 0, [0])].problems[0]
    )


def test_a_dataset_without_a_readable_image_is_an_error(images: list[PersonImage]) -> None:
    for image in images:
        image.path.unlink()
    with pytest.raises(InputError, match=r"no image of the dataset can be read, such as .*1.png"):
        TrainingSamples(images, PLAIN)[Draw(0, 1, [0])]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_reports_in_one_line_that_no_image_can_be_read(
    images: list[PersonImage], workers: int
) -> None:
    for image in images:
        image.path.unlink()
    sampler = BatchSampler([len(image.people) for image in images], PLAIN)
    with pytest.raises(InputError) as raised:
        list(make_loader(images, PLAIN, sampler, workers=workers, device=CPU))
    assert str(raised.value).startswith("no image of the dataset can be read, such as ")
    assert "\n" not in str(raised.value)


def test_real_people_are_in_their_crops() -> None:
    """The targets of real people agree with masks warped by OpenCV through the whole chain of matrices."""
    images = real_images()[:3]
    batch = batch_of(images, Recipe(augmentation=WILD))
    matrices = torch.tensor([[0.125, 0, 0], [0, 0.125, 0]]).expand(len(batch.keypoints), 2, 3)
    masks = [mask for image in images for mask in image.masks]
    for i, target in enumerate(mask_targets(batch, matrices)):
        matrix = compose(matrices[i].double().numpy(), batch.to_input[batch.batch_index[i]].double().numpy())
        expected = cv2.warpAffine(masks[i].astype(np.float64), matrix, (64, 64)) > 0.5
        assert (expected != (target.numpy() > 0)).sum() <= 0.02 * expected.sum() + 4
