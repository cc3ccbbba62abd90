"""The algorithms of the original Pose2Seg: loops over people in numpy, copies of whole feature maps.

Written from a description of its algorithms, for comparison. Arguments and results are on the device of ours,
without copies on a CPU; on a GPU, the numpy and OpenCV parts copy to the CPU, as the original did.
"""

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.bottleneck import Bottleneck
from pose2seg.network.model import INPUT_SIZE, Pose2Seg
from pose2seg.network.seg_module import SegModule
from torch import Tensor

from pose2seg_ops import COCO_LIMBS

_CUTOFF = 4.6025
_SIGMA = 3.0
_LIMB_WIDTH = 1.0
Array = npt.NDArray[np.float64]


def fit_pose_templates(
    keypoints: Tensor, templates: Tensor, source_size: tuple[int, int], output_size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Fits every template to every pose, one least-squares problem at a time."""
    height, width = output_size
    resize = min(height / source_size[0], width / source_size[1])
    plain = np.array(
        [
            [resize, 0, (width - resize * source_size[1]) / 2],
            [0, resize, (height - resize * source_size[0]) / 2],
        ]
    )
    matrices, indices, scores = [], [], []
    for pose in keypoints.double().cpu().numpy():
        best, index, matrix = 0.0, -1, plain
        for t, template in enumerate(templates.double().cpu().numpy()):
            similarity, score = _fit_one(pose, template)
            fitted = similarity * np.array([[width], [height]])
            if score > best and np.hypot(similarity[0, 0], similarity[0, 1]) * height > resize:
                best, index, matrix = score, t, fitted
        matrices.append(matrix)
        indices.append(index)
        scores.append(best)
    return (
        torch.from_numpy(np.array(matrices)).float().to(keypoints.device),
        torch.tensor(indices).to(keypoints.device),
        torch.tensor(scores, dtype=torch.float32).to(keypoints.device),
    )


def _fit_one(pose: Array, template: Array) -> tuple[Array, float]:
    seen, known = pose[:, 2] > 0, template[:, 2] > 0
    common = seen & known
    if common.sum() < 3 or (seen & ~known).any():
        return np.zeros((2, 3)), 0.0
    rows, targets = [], []
    for (x, y), (u, v) in zip(pose[common, :2], template[common, :2], strict=True):
        rows += [[x, y, 1, 0], [y, -x, 0, 1]]
        targets += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    similarity = np.array([[a, b, tx], [-b, a, ty]])
    moved = pose[common, :2] @ similarity[:, :2].T + similarity[:, 2]
    errors = ((moved - template[common, :2]) ** 2).sum(1)
    return similarity, float(np.exp(-errors / 2).mean() * common.sum() / (seen | known).sum())


def skeleton_maps(keypoints: Tensor, output_size: tuple[int, int]) -> Tensor:
    """Draws every joint and limb of every person, one after the other."""
    height, width = output_size
    maps = np.zeros((len(keypoints), 17 + 2 * len(COCO_LIMBS), height, width), np.float32)
    for channels, pose in zip(maps, keypoints.double().cpu().numpy(), strict=True):
        for channel, joint in zip(channels, pose, strict=False):
            if joint[2] > 0:
                _draw_joint(channel, joint)
        for limb, (a, b) in enumerate(COCO_LIMBS):
            if pose[a, 2] > 0 and pose[b, 2] > 0:
                _draw_limb(channels[17 + 2 * limb : 19 + 2 * limb], pose[a, :2], pose[b, :2])
    return torch.from_numpy(maps).to(keypoints.device)


def _draw_joint(channel: npt.NDArray[np.float32], joint: Array) -> None:
    height, width = channel.shape
    x, y, visibility = joint
    reach = np.sqrt(2 * _CUTOFF) * _SIGMA
    left, right = max(int(x - reach), 0), min(int(x + reach) + 2, width)
    top, bottom = max(int(y - reach), 0), min(int(y + reach) + 2, height)
    if left >= right or top >= bottom:
        return
    columns, rows = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    exponent = ((columns - x) ** 2 + (rows - y) ** 2) / (2 * _SIGMA * _SIGMA)
    region = exponent < _CUTOFF
    window = channel[top:bottom, left:right]
    window[region] = np.maximum(window, np.exp(-exponent))[region]
    if visibility == 1:
        window[region] *= -1


def _draw_limb(field: npt.NDArray[np.float32], start: Array, end: Array) -> None:
    height, width = field.shape[1:]
    length = np.linalg.norm(end - start)
    if length == 0:
        return
    x, y = (end - start) / length
    low, high = np.minimum(start, end) - _LIMB_WIDTH, np.maximum(start, end) + _LIMB_WIDTH
    left, right = max(round(low[0]), 0), min(round(high[0]), width)
    top, bottom = max(round(low[1]), 0), min(round(high[1]), height)
    if left >= right or top >= bottom:
        return
    columns, rows = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    region = np.abs((columns - start[0]) * y - (rows - start[1]) * x) < _LIMB_WIDTH
    field[0, top:bottom, left:right][region] = x
    field[1, top:bottom, left:right][region] = y


def affine_align(
    features: Tensor, matrices: Tensor, batch_index: Tensor, output_size: tuple[int, int]
) -> Tensor:
    """Copies the whole feature map for every person and samples the copies on a grid."""
    copies = features[batch_index]
    height, width = output_size
    grids = []
    for matrix in matrices.cpu().numpy():
        inverse = np.linalg.inv(np.vstack((matrix, [0, 0, 1])))[:2]
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        points = np.stack((columns, rows, np.ones_like(rows)), -1) @ inverse.T
        grids.append(points / (np.array(features.shape[:1:-1]) - 1) * 2 - 1)
    grid = torch.from_numpy(np.array(grids, np.float32)).to(features)
    return F.grid_sample(copies, grid, align_corners=True)


def align_with_skeleton(
    features: Tensor, poses: Tensor, matrices: Tensor, batch_index: Tensor, output_size: tuple[int, int]
) -> Tensor:
    """Concatenates windows and skeletons."""
    positions = torch.einsum("nij,nkj->nki", matrices[:, :, :2], poses[..., :2]) + matrices[:, None, :, 2]
    skeletons = skeleton_maps(torch.cat([positions, poses[..., 2:]], -1), output_size)
    return torch.cat([affine_align(features, matrices, batch_index, output_size), skeletons], 1)


def paste_masks(
    probabilities: Tensor, matrices: Tensor, image_size: tuple[int, int], channels: int = 2
) -> list[Tensor]:
    """Warps the background and person channels of each mask with OpenCV, one person at a time."""
    masks = np.empty((len(matrices), *image_size), bool)
    each = zip(masks, matrices.cpu().numpy(), probabilities.cpu().numpy(), strict=True)
    for mask, matrix, person in each:
        maps = np.dstack((1 - person, person)) if channels == 2 else person
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        pasted = cv2.warpAffine(maps, matrix, image_size[::-1], flags=flags)
        mask[:] = (pasted[..., 1] if channels == 2 else pasted) > 0.5
    return [torch.from_numpy(masks)]


def predict(model: Pose2Seg, image: Tensor, keypoints: Tensor) -> list[Tensor]:
    """Predicts masks from an image (H, W, 3) uint8 and poses (N, 17, 3), with the weights of a model."""
    inputs, to_input = letterbox([image], INPUT_SIZE, IMAGENET_MEAN, IMAGENET_STD)
    to_features = to_input[0] / 4
    poses = torch.cat([keypoints[..., :2] @ to_features[:, :2].T + to_features[:, 2], keypoints[..., 2:]], -1)
    with torch.inference_mode():
        features = model.backbone(inputs)
        to_align, _, _ = fit_pose_templates(poses, model.templates, (128, 128), (64, 64))
        batch_index = torch.zeros(len(poses), dtype=torch.long, device=poses.device)
        rois = align_with_skeleton(features, poses, to_align, batch_index, (64, 64))
        probabilities = _segment(model.segnet, rois).softmax(1)[:, 1]
    to_align = to_align[:, :, :2] @ to_features + torch.cat(
        [to_align.new_zeros(len(poses), 2, 2), to_align[:, :, 2:]], -1
    )
    return paste_masks(probabilities, to_align, (image.shape[0], image.shape[1]))


def _segment(head: SegModule, rois: Tensor) -> Tensor:
    """Runs the blocks of the head in the original's order: all of the last one after the interpolation."""
    x = head.layer1(F.relu(head.bn1(head.conv1(rois))))
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    (block,) = head.decoder1
    assert isinstance(block, Bottleneck)
    logits: Tensor = head.pred_small(Bottleneck.forward(block, x))
    return logits


def letterbox(
    images: list[Tensor], size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Warps with OpenCV, and converts colours with numpy."""
    inputs, matrices = [], []
    for image in images:
        height, width = image.shape[:2]
        scale = min(size / height, size / width)
        shift = (size - scale * width) / 2, (size - scale * height) / 2
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        resized = cv2.warpAffine(image.cpu().numpy(), matrix, (size, size))
        rgb = resized[..., ::-1].astype(np.float32) / 255
        normalised = (rgb - np.array(mean, np.float32)) / np.array(std, np.float32)
        inputs.append(torch.from_numpy(normalised.transpose(2, 0, 1).copy()))
        matrices.append(torch.from_numpy(matrix).float())
    return torch.stack(inputs).to(images[0].device), torch.stack(matrices).to(images[0].device)


def mask_targets(masks: Tensor, matrices: Tensor, output_size: tuple[int, int]) -> Tensor:
    """Warps masks (N, H, W) uint8 into the RoIs of the people, one after the other: (N, h, w) int64."""
    targets = [
        cv2.warpAffine(mask.astype(np.float32), matrix, output_size[::-1])
        for mask, matrix in zip(masks.cpu().numpy(), matrices.cpu().numpy(), strict=True)
    ]
    return torch.from_numpy(np.array(targets).round()).long().to(masks.device)
