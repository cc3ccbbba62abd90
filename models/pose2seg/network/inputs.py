"""Conversion of the images and poses that `Pose2Seg.predict` accepts to tensors."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose2seg.common.choices import JOINT_THRESHOLD
from pose2seg.common.images import read_image
from pose2seg_ops import COCO_KEYPOINTS

_VISIBILITIES = torch.arange(3)  # missing, occluded, visible


def as_batch(images: Any, keypoints: Any) -> tuple[list[Tensor], list[Any]]:
    """Returns the images as uint8 (H, W, 3) tensors in BGR order, and the poses of each.

    images, keypoints: see `Pose2Seg.predict`.

    Raises ValueError for a visibility other than 0, 1 and 2, and for a PIL image with more than 8 bits per
    channel. For paths, raises what `read_image` raises.
    """
    if _is_one_image(images):
        images, keypoints = [images], [keypoints]
    poses = list(keypoints)
    for i, of_image in enumerate(poses):
        _require_visibilities(as_tensor(of_image), f"keypoints[{i}]")
    return [_as_image(image) for image in images], poses


def as_tensor(data: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Returns numbers in any form as a tensor, without a copy if torch can use their memory."""
    if isinstance(data, np.ndarray):  # torch rejects negative strides, and warns about read-only memory
        data = np.require(data, requirements=("C_CONTIGUOUS", "WRITEABLE"))
    return torch.as_tensor(data, dtype=dtype)


def gather_people(keypoints: Sequence[Any], images: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns all poses in one tensor (N, 17, 3), and the image of each, (N,) on the CPU."""
    if images == 0:
        raise ValueError("images must hold at least one image, got none")
    if len(keypoints) != images:
        raise ValueError(f"keypoints must be one array per image, got {len(keypoints)} for {images} images")
    joints = len(COCO_KEYPOINTS)
    poses = [as_tensor(pose, dtype) for pose in keypoints]
    poses = [pose.reshape(0, joints, 3) if pose.shape == (0,) else pose for pose in poses]  # []
    for i, pose in enumerate(poses):
        if pose.ndim != 3 or pose.shape[1:] != (joints, 3):
            raise ValueError(f"keypoints[{i}] must be (n, {joints}, 3), got {tuple(pose.shape)}")
    counts = torch.tensor([len(pose) for pose in poses])
    return torch.cat(poses), torch.repeat_interleave(counts)


def _is_one_image(images: Any) -> bool:
    is_array = isinstance(images, (np.ndarray, Tensor)) and images.ndim <= 3
    return isinstance(images, (str, Path)) or is_array or _is_pil_image(images)


def _is_pil_image(image: Any) -> bool:
    """Returns whether this is a PIL image, without importing Pillow."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(image, pil.Image)


def _as_image(image: Any) -> Tensor:
    if isinstance(image, (str, Path)):
        return torch.from_numpy(read_image(Path(image)))
    if _is_pil_image(image):
        if image.mode[0] in "IF":
            raise ValueError(f"images must have 8 bits per channel, got a PIL image of mode {image.mode}")
        image = np.asarray(image.convert("RGB"))[..., ::-1]
    pixels = as_tensor(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        return pixels.expand(-1, -1, 3).contiguous()
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return pixels[..., :3].contiguous()
    return pixels


def _require_visibilities(poses: Tensor, name: str) -> None:
    if poses.ndim != 3 or poses.shape[2] != 3:
        return  # `gather_people` raises the error
    visibilities = poses[..., 2].cpu()
    others = visibilities[~torch.isin(visibilities, _VISIBILITIES.to(visibilities.dtype))]
    if len(others):
        raise ValueError(
            f"{name} must have visibilities 0, 1 or 2 as third numbers, got {others[0].item():g}: if these "
            f"are confidences, pass 2 for joints to use, such as those of at least {JOINT_THRESHOLD}, and 0 "
            "for the others"
        )
