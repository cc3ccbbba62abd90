"""Find joints more finely than the cells of a network's maps: move them until they draw the same maps.

`skeleton_maps` has a gradient to the keypoints, so that "draw, compare, move" is an ordinary optimisation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pose2seg_ops import COCO_KEYPOINTS, skeleton_maps

STRIDE, SIGMA = 4, 8.0  # pixels a cell, and of the confidence maps


def draw(keypoints: Tensor, size: Sequence[int]) -> Tensor:
    """The confidence maps (K, h, w) of a pose (K, 3)."""
    return skeleton_maps(keypoints[None], size, limbs=(), sigma=SIGMA, stride=STRIDE)[0]


def highest_cells(maps: Tensor) -> Tensor:
    """The pose (K, 3) with its joints in the middle of the highest cell of each map: pixels, visibility 2."""
    highest = maps.flatten(1).argmax(1)
    cells = torch.stack((highest % maps.shape[2], highest // maps.shape[2]), 1)
    points = STRIDE / 2 - 0.5 + STRIDE * cells
    return torch.cat((points, torch.full_like(points[:, :1], 2)), 1)


def refine(keypoints: Tensor, maps: Tensor, *, steps: int = 100) -> Tensor:
    """The pose near `keypoints` (K, 3) that draws `maps` (K, h, w)."""
    points = keypoints[:, :2].clone().requires_grad_()
    optimizer = torch.optim.Adam([points], lr=0.3)
    for _ in range(steps):
        moved = torch.cat((points, keypoints[:, 2:]), 1)
        loss = (draw(moved, maps.shape[1:]) - maps).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.cat((points.detach(), keypoints[:, 2:]), 1)


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    joints = len(COCO_KEYPOINTS)
    points = 30 + 196 * torch.rand(joints, 2, generator=generator)
    truth = torch.cat((points, torch.full((joints, 1), 2.0)), 1)
    noise = 0.05 * torch.randn(joints, 64, 64, generator=generator)
    maps = draw(truth.to(device), (64, 64)) + noise.to(device)  # in the place of a network's
    coarse = highest_cells(maps)
    for name, pose in (("highest cells", coarse), ("refined", refine(coarse, maps))):
        error = (pose[:, :2].cpu() - points).norm(dim=1).mean()
        print(f"{name}: joints are {error:.2f} pixels off")


if __name__ == "__main__":
    main()
