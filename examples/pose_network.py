"""Train a pose network whose targets `skeleton_maps` draws, on the device that trains.

A loader has to bring the keypoints alone, a few numbers a person: no worker draws maps, and none are copied.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose2seg_ops import skeleton_maps

JOINTS = ("head", "left hand", "right hand", "left foot", "right foot")
LIMBS = ((0, 1), (0, 2), (0, 3), (0, 4))
SIZE, STRIDE = 64, 2
COLOURS = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1.0]])


def draw_people(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """In place of a dataset: noisy images (count, 3, 64, 64) of a person, and keypoints (count, 5, 3)."""
    head = 20 + 24 * torch.rand(count, 1, 2, generator=generator)
    reach = torch.tensor([[0, 0], [-14, 4], [14, 4], [-6, 16], [6, 16.0]])
    points = head + reach + 6 * torch.rand(count, 5, 2, generator=generator) - 3
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    distance = (torch.stack((x, y), -1) - points[:, :, None, None]).norm(dim=-1)
    images = torch.einsum("njyx,jc->ncyx", (distance < 3).float(), COLOURS)
    noise = 0.3 * torch.randn(images.shape, generator=generator)
    return images + noise, torch.cat((points, torch.full((count, 5, 1), 2.0)), 2)


def make_network() -> nn.Module:
    """From (B, 3, 64, 64) to the maps of a pose: (B, 5 confidence maps + 2 x 4 fields, 32, 32)."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, STRIDE, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, len(JOINTS) + 2 * len(LIMBS), 5, padding=2),
    )


def draw_targets(keypoints: Tensor) -> Tensor:
    """Where the joints are, and which way the limbs go, of the person in each image."""
    size = SIZE // STRIDE, SIZE // STRIDE
    return skeleton_maps(keypoints, size, limbs=LIMBS, sigma=3.0, limb_width=1.0, stride=STRIDE)


def train(network: nn.Module, *, steps: int, device: str = "cpu") -> None:
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        images, keypoints = (tensor.to(device) for tensor in draw_people(16, generator))
        loss = functional.mse_loss(network(images), draw_targets(keypoints))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.inference_mode()
def find_joints(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 5, 2) x, y in pixels: where each confidence map is highest."""
    maps = network(images)[:, : len(JOINTS)]
    highest = maps.flatten(2).argmax(2)
    cells = torch.stack((highest % maps.shape[3], highest // maps.shape[3]), 2)
    return STRIDE / 2 - 0.5 + STRIDE * cells


def mean_error(network: nn.Module, device: str = "cpu") -> float:
    """Pixels between the joints that are found in new images and the true ones."""
    images, keypoints = draw_people(64, torch.Generator().manual_seed(1))
    found = find_joints(network, images.to(device)).cpu()
    return (found - keypoints[:, :, :2]).norm(dim=2).mean().item()


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    network = make_network().to(device)
    print(f"untrained: joints are {mean_error(network, device):.1f} pixels off")
    train(network, steps=120, device=device)
    print(f"trained: {mean_error(network, device):.1f} pixels")


if __name__ == "__main__":
    main()
