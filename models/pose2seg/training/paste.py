"""Pasting people from other images into an image.

Source: Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation", CVPR 2021.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.training.augmentation import Box, Matrix, Similarity, transform_poses

Image = npt.NDArray[np.uint8]

_SMALLEST = 50  # the smallest longer side of a pasted person, in pixels of the network input
_LARGEST = 0.9  # the largest longer side, relative to the network input
_ENLARGED = 2.0  # the largest magnification; beyond it, the network would learn to recognise interpolation
_VISIBLE = 100  # the smallest number of visible pixels of a pasted person
_STILL_THERE = 0.3  # the smallest share of a mask that must remain for a person to be kept
_OCCLUDED = 0.6  # the share of covered joints that become occluded; the others lose their label


class Scene(NamedTuple):
    """An image (H, W, 3) uint8 BGR, and its people: masks (n, H, W) uint8 and poses (n, 17, 3)."""

    image: Image
    masks: npt.NDArray[np.uint8]
    keypoints: npt.NDArray[np.float32]


def draw_place(
    rng: np.random.Generator, box: Box, others: npt.NDArray[np.float32], angle: float, input_size: int
) -> Matrix:
    """Returns a random matrix (2, 3) that moves a person's box into the network input, often near others.

    box: x, y, width and height of the person in the source image.
    others: (n, 17, 3) poses in the network input.
    angle: the largest rotation in degrees, in both directions.
    """
    x, y, width, height = box
    longer = max(width, height)
    size = math.exp(rng.uniform(math.log(_SMALLEST), math.log(_LARGEST * input_size)))
    scale = min(size / longer, _ENLARGED)
    linear = Similarity(angle, (scale, scale)).draw(rng, (0, 0))[:, :2]
    if rng.random() < 0.5:
        linear = linear * [-1, 1]
    extent = np.abs(linear) @ [width, height]
    centre = rng.uniform(0, input_size, 2)
    if len(others) and rng.random() < 0.6:
        pose = others[rng.integers(len(others))]
        centre = pose[pose[:, 2] > 0, :2].mean(0) + rng.uniform(-1, 1, 2) * extent * [1.0, 0.3]
    margin = np.minimum(extent, input_size) / 2
    centre = np.clip(centre, margin, input_size - margin)
    return np.column_stack([linear, centre - linear @ [x + width / 2, y + height / 2]])


def paste(
    scene: Scene,
    image: Image,
    mask: npt.NDArray[np.uint8],
    keypoints: npt.NDArray[np.float32],
    matrix: Matrix,
    rng: np.random.Generator,
) -> Scene:
    """Returns the scene with another person in the foreground, who is appended to its people.

    Joints that are covered become occluded or lose their label. A person who is almost completely covered, or
    has no joint left, is removed from the scene. The new person is not pasted if too few pixels, or no joint,
    would be in the image.

    image, mask, keypoints: the source of the person, (H', W', 3), (H', W') and (17, 3).
    matrix: (2, 3), source image -> scene.
    """
    size = scene.image.shape[1::-1]
    cut_out = cv2.warpAffine(mask.astype(np.float32), matrix, size)
    cut_out = cv2.GaussianBlur(cut_out, (3, 3), 0.7)  # blurred edges, as from a lens
    covered = cut_out > 0.5
    pose = transform_poses(keypoints[None], matrix)
    pose[~_within(pose, size)] = 0
    if covered.sum() < _VISIBLE or not pose[:, :, 2].any():
        return scene
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    interpolation = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
    moved = cv2.warpAffine(image, matrix, size, flags=interpolation)
    share = cut_out[:, :, None]
    mixed = np.rint(scene.image * (1 - share) + moved * share).astype(np.uint8)
    masks, poses = _behind(scene, covered, rng)
    return Scene(
        mixed,
        np.concatenate([masks, covered[None].astype(np.uint8)]),
        np.concatenate([poses, pose]),
    )


def _within(poses: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Returns which joints, (n, 17), are labelled and in an image of (width, height)."""
    positions = np.rint(poses[:, :, :2])
    return ((positions >= 0) & (positions < size)).all(2) & (poses[:, :, 2] > 0)


def _behind(
    scene: Scene, covered: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Returns the masks and poses of the people who are still visible behind the covered pixels."""
    masks = scene.masks * ~covered
    poses = scene.keypoints.copy()
    height, width = covered.shape
    x, y = np.rint(poses[:, :, 0]).astype(int), np.rint(poses[:, :, 1]).astype(int)
    hidden = covered[y.clip(0, height - 1), x.clip(0, width - 1)] & _within(poses, (width, height))
    occluded = rng.random(hidden.shape) < _OCCLUDED
    poses[hidden & occluded, 2] = 1
    poses[hidden & ~occluded] = 0
    left = masks.sum((1, 2)) >= _STILL_THERE * scene.masks.sum((1, 2))
    there = left & (poses[:, :, 2] > 0).any(1)
    return masks[there], poses[there]
