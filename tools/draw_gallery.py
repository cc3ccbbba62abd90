"""Draws docs/gallery: what each op and the model make of the image and the pose of the demo."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pose2seg import load_model
from pose2seg.data.posed_images import read_posed_image
from pose2seg.prediction.demo import demo_image
from pose2seg.prediction.drawing import draw_overlay
from torch import Tensor

from pose2seg_ops import affine_align, letterbox, skeleton_maps

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "gallery"
Image = npt.NDArray[np.uint8]


def overlay(image: Image, keypoints: Tensor) -> Image:
    (masks,) = load_model().predict([image], [keypoints])
    return draw_overlay(image, masks.numpy(), keypoints.numpy())


def soft_cut_out(image: Image, keypoints: Tensor) -> Image:
    (opacities,) = load_model().predict([image], [keypoints], threshold=None)
    opacity = opacities[0, ..., None].numpy() / 255
    background = np.full_like(image, (190, 150, 90))
    return (opacity * image + (1 - opacity) * background).astype(np.uint8)


def probabilities(image: Image, keypoints: Tensor) -> Image:
    (opacities,) = load_model().predict([image], [keypoints], threshold=None)
    return cv2.applyColorMap(opacities[0].numpy(), cv2.COLORMAP_VIRIDIS).astype(np.uint8)


def windows(image: Image, keypoints: Tensor) -> Image:
    features = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    matrices = [cv2.getRotationMatrix2D((256, 200), angle, 0.6) for angle in range(0, 360, 90)]
    to_window = torch.from_numpy(np.stack(matrices)).float() - torch.tensor([[0, 0, 156.0], [0, 0, 100.0]])
    sampled = affine_align(features, to_window, torch.zeros(4, dtype=torch.int64), (200, 200))
    return np.hstack([window.permute(1, 2, 0).byte().numpy() for window in sampled])


def skeleton(image: Image, keypoints: Tensor) -> Image:
    maps = skeleton_maps(keypoints[None], image.shape[:2], sigma=14.0, limb_width=7.0)[0]
    confidence, fields = maps[:17].amax(0), maps[17:].unflatten(0, (-1, 2)).norm(dim=1).amax(0)
    drawn = (255 * torch.stack((confidence, fields, fields), -1)).clamp(0, 255)
    return drawn.byte().numpy()


def letterboxes(image: Image, keypoints: Tensor) -> Image:
    images = [
        torch.from_numpy(np.ascontiguousarray(part)) for part in (image, image[:300], image[:, 150:400])
    ]
    inputs, _ = letterbox(images, 200, [0.0] * 3, [1.0] * 3)
    return np.hstack([(255 * rgb.flip(0)).permute(1, 2, 0).byte().numpy() for rgb in inputs])


DRAWINGS: list[Callable[[Image, Tensor], Image]] = [
    overlay,
    soft_cut_out,
    probabilities,
    windows,
    skeleton,
    letterboxes,
]


def draw(output: Path) -> None:
    """Writes NAME.jpg for each drawing into a folder."""
    output.mkdir(exist_ok=True)
    image, poses = read_posed_image(demo_image())
    for drawing in DRAWINGS:
        drawn = drawing(image, torch.from_numpy(poses.keypoints))
        cv2.imwrite(str(output / f"{drawing.__name__}.jpg"), drawn, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    draw(OUTPUT)
