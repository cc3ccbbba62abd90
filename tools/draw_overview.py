"""Draws docs/overview.jpg: what the ops and the model compute for the image of the demo and its pose."""

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

from pose2seg_ops import COCO_KEYPOINTS, affine_align, fit_pose_templates, skeleton_maps
from pose2seg_ops.keypoints import transform_keypoints

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "overview.jpg"
SIZE, GAP = 400, 12  # side of a panel, and gap between panels, in pixels
Image = npt.NDArray[np.uint8]


def draw() -> Image:
    """Returns five panels side by side, (SIZE, 5 SIZE + 4 GAP, 3) uint8 BGR."""
    upright_image, poses = read_posed_image(demo_image())
    upright_pose = torch.from_numpy(poses.keypoints)
    image, keypoints = _turned(upright_image, upright_pose)
    portrait = upright_pose / torch.tensor([*upright_image.shape[1::-1], 1])
    matrices, _, _ = fit_pose_templates(keypoints, portrait, (SIZE, SIZE), (SIZE, SIZE))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    window = affine_align(pixels, matrices, torch.zeros(1, dtype=torch.int64), (SIZE, SIZE))
    upright = transform_keypoints(keypoints, matrices)
    maps = skeleton_maps(upright, (SIZE, SIZE), sigma=12.0, limb_width=6.0)[0]
    confidence, fields = maps[: len(COCO_KEYPOINTS)], maps[len(COCO_KEYPOINTS) :]
    (masks,) = load_model().predict([image], [keypoints])
    panels = [
        _with_pose_and_window(image, keypoints, matrices[0]),
        window[0].permute(1, 2, 0).byte().numpy(),
        cv2.applyColorMap((255 * confidence.amax(0)).byte().numpy(), cv2.COLORMAP_INFERNO),
        _directions(fields.unflatten(0, (-1, 2))),
        draw_overlay(image, masks.numpy(), keypoints.numpy()),
    ]
    gap = np.full((SIZE, GAP, 3), 255, np.uint8)
    return np.hstack([panels[0], *(part for panel in panels[1:] for part in (gap, panel))])


def _turned(image: Image, pose: Tensor) -> tuple[Image, Tensor]:
    """Returns the image, reduced and rotated, in a frame of the size of a panel, and its pose with it."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 25, 0.55)
    turn[:, 2] += (SIZE - width) / 2, (SIZE - height) / 2
    turned = cv2.warpAffine(image, turn, (SIZE, SIZE), flags=cv2.INTER_AREA, borderValue=(40, 40, 40))
    return turned.astype(np.uint8), transform_keypoints(pose, torch.from_numpy(turn).float()[None])


def _with_pose_and_window(image: Image, keypoints: Tensor, matrix: Tensor) -> Image:
    overlay = draw_overlay(image, np.zeros((1, SIZE, SIZE), np.bool_), keypoints.numpy())
    corners = np.array([[[0, 0]], [[SIZE, 0]], [[SIZE, SIZE]], [[0, SIZE]]], np.float64)
    outline = cv2.transform(corners, cv2.invertAffineTransform(matrix.double().numpy()))
    cv2.polylines(overlay, [outline.round().astype(np.int32)], True, (255, 255, 255), 2, cv2.LINE_AA)
    return overlay


def _directions(fields: Tensor) -> Image:
    """Draws fields (L, 2, h, w) as an image whose hue is the direction of the limb in a pixel."""
    strongest = fields.norm(dim=1).argmax(0)
    x, y = fields.gather(0, strongest[None, None].expand(1, 2, -1, -1))[0]
    hue = (torch.atan2(y, x) / (2 * torch.pi) % 1 * 180).byte().numpy()
    value = (255 * torch.hypot(x, y)).clamp(max=255).byte().numpy()
    return cv2.cvtColor(np.dstack((hue, np.full_like(hue, 200), value)), cv2.COLOR_HSV2BGR).astype(np.uint8)


if __name__ == "__main__":
    cv2.imwrite(str(OUTPUT), draw(), [cv2.IMWRITE_JPEG_QUALITY, 90])
