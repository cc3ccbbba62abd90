"""Runs the examples on small input and checks their results."""

import json
import re
from pathlib import Path

import cut_out_people
import cv2
import numpy as np
import pose_network
import pytest
import refine_pose
import rotated_roi_align
import torch
from people import draw_dataset, write_annotations
from pose2seg import load_templates, save_checkpoint
from pose2seg.commands import cli
from pycocotools import mask as coco_mask
from small_model import small_model

pytestmark = pytest.mark.usefixtures("one_thread")


# rotated_roi_align


def crop(image: torch.Tensor, box: list[float], size: tuple[int, int]) -> torch.Tensor:
    """Computes RoIAlign of one rotated box by its definition: the mean of 2 x 2 bilinear samples per bin."""
    x, y, width, height, degrees = box
    turn = np.deg2rad(degrees)
    result = torch.zeros(image.shape[0], 2 * size[0], 2 * size[1], dtype=image.dtype)
    for row, column in np.ndindex(*result.shape[1:]):
        across = ((column + 0.5) / result.shape[2] - 0.5) * width
        down = ((row + 0.5) / result.shape[1] - 0.5) * height
        at_x = x + across * np.cos(turn) + down * np.sin(turn) - 0.5
        at_y = y - across * np.sin(turn) + down * np.cos(turn) - 0.5
        left, top = int(np.floor(at_x)), int(np.floor(at_y))
        right_part, lower_part = at_x - left, at_y - top
        corners = image[:, top : top + 2, left : left + 2]
        weights = torch.tensor(np.outer([1 - lower_part, lower_part], [1 - right_part, right_part]))
        result[:, row, column] = (corners * weights).sum((1, 2))
    return result.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean((2, 4))


def test_pooled_boxes_are_those_of_rotated_roi_align() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 24, 30, dtype=torch.float64, generator=generator)
    boxes = [
        [1, 30, 26, 30, 20, 25],
        [0, 32, 24, 16, 32, -70],
        [1, 20, 30, 24, 24, 0],
        [0, 27, 22, 33, 9, 180],
    ]
    pool = rotated_roi_align.RotatedRoIAlign((4, 5), spatial_scale=0.5)
    pooled = pool(features, torch.tensor(boxes, dtype=torch.float64))
    for window, (image, x, y, width, height, degrees) in zip(pooled, boxes, strict=True):
        scaled = [x / 2, y / 2, width / 2, height / 2, degrees]
        torch.testing.assert_close(window, crop(features[int(image)], scaled, (4, 5)))


def test_a_box_of_whole_pixels_is_cut_out_and_turned() -> None:
    features = torch.arange(144.0).view(1, 1, 12, 12)
    pool = rotated_roi_align.RotatedRoIAlign((4, 6), spatial_scale=1, sampling_ratio=1)
    upright, turned = pool(features, torch.tensor([[0, 6, 5, 6, 4, 0], [0, 6, 5, 6, 4, 90.0]]))
    torch.testing.assert_close(upright, features[0, :, 3:7, 3:9])
    # Counterclockwise: the right side of the box is now on top.
    torch.testing.assert_close(turned, features[0, :, 2:8, 4:8].rot90(-1, (1, 2)), atol=1e-4, rtol=0)


def test_the_boxes_of_the_head_have_gradients() -> None:
    torch.manual_seed(0)
    head = rotated_roi_align.RotatedBoxHead(channels=4, classes=3, spatial_scale=0.5)
    boxes = torch.tensor([[0, 20, 24, 16, 12, 30], [1, 26, 20, 10, 20, -50.0]], requires_grad=True)
    scores, corrections = head(torch.randn(2, 4, 24, 24), boxes)
    assert (scores.shape, corrections.shape) == ((2, 3), (2, 15))
    scores.square().sum().backward()
    assert boxes.grad is not None
    assert (boxes.grad[:, 0] == 0).all()
    assert (boxes.grad[:, 1:] != 0).all()
    assert head(torch.randn(2, 4, 24, 24), boxes[:0])[0].shape == (0, 3)


# pose_network


def test_the_pose_network_learns_where_joints_are(capsys: pytest.CaptureFixture[str]) -> None:
    pose_network.main()
    untrained, trained = map(float, re.findall(r"[\d.]+(?= pixels)", capsys.readouterr().out))
    assert untrained > 10
    assert trained < pose_network.STRIDE


# refine_pose


@pytest.mark.parametrize(("noise", "factor"), [(0.0, 100), (0.05, 5)])
def test_refined_joints_are_found_to_a_fraction_of_a_cell(noise: float, factor: float) -> None:
    generator = torch.Generator().manual_seed(0)
    points = 24 + 80 * torch.rand(17, 2, generator=generator)
    x, y = torch.meshgrid(torch.arange(1.5, 128, 4), torch.arange(1.5, 128, 4), indexing="xy")
    squares = (torch.stack((x, y), -1) - points[:, None, None]).square().sum(-1)
    maps = torch.exp(-squares / (2 * refine_pose.SIGMA**2)) * (squares < (3 * refine_pose.SIGMA) ** 2)
    maps += noise * torch.randn(maps.shape, generator=generator)
    coarse = refine_pose.highest_cells(maps)
    refined = refine_pose.refine(coarse, maps)
    before, after = ((pose[:, :2] - points).norm(dim=1).mean() for pose in (coarse, refined))
    assert before > 1
    assert after < before / factor


# cut_out_people


def test_cut_outs_equal_the_masks_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    images = draw_dataset(tmp_path / "images", counts=(2, 1, 1))
    write_annotations(images[:2], tmp_path / "poses.json")
    torch.manual_seed(0)
    model = small_model(load_templates()).eval()
    save_checkpoint(model, tmp_path / "model.safetensors")
    folder, poses, output = (tmp_path / name for name in ("images", "poses.json", "cut_out"))
    assert cut_out_people.cut_out_people(model, folder, poses, output) == 2
    assert sorted(path.name for path in output.iterdir()) == ["0.png", "1.png"]

    files = [
        "--poses",
        poses,
        "--weights",
        tmp_path / "model.safetensors",
        "--output",
        tmp_path / "masks.json",
    ]
    assert cli.main(["predict", str(folder), "--device", "cpu", *map(str, files)]) == 0
    results = json.loads((tmp_path / "masks.json").read_text())
    for image in images[:2]:
        masks = [result["segmentation"] for result in results if result["image_id"] == image.image_id]
        cut_out = cv2.imread(str(output / image.path.name), cv2.IMREAD_UNCHANGED)
        assert cut_out is not None
        np.testing.assert_array_equal(cut_out[:, :, :3], image.read())
        np.testing.assert_array_equal(cut_out[:, :, 3], 255 * coco_mask.decode(coco_mask.merge(masks)))
        assert 0 < cut_out[:, :, 3].mean() < 255

    with pytest.raises(ValueError, match="output must not be the folder of the images"):
        cut_out_people.cut_out_people(model, folder, poses, output / ".." / folder.name)


@pytest.mark.parametrize("example", [refine_pose, rotated_roi_align])
def test_the_other_examples_run(example, capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    assert len(capsys.readouterr().out.splitlines()) == 2
