"""Rotated boxes in a detector: `affine_align` in the place of RoIAlign, in a head like torchvision's."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose2seg_ops import affine_align


class RotatedRoIAlign(nn.Module):
    """Pools rotated boxes of a batch of feature maps, with the arguments of detectron2's ROIAlignRotated.

    There are gradients to the features and, which is not usual, to the boxes. Within a pixel of the border,
    where RoIAlign repeats the outermost pixels, these features fade to 0.

    Args:
        output_size: (h, w) of a pooled box, in bins.
        spatial_scale: pixels of the features a pixel of the image.
        sampling_ratio: samples along each side of a bin, whose mean it is.
    """

    def __init__(self, output_size: tuple[int, int], spatial_scale: float, sampling_ratio: int = 2) -> None:
        super().__init__()
        self.sampling_ratio = sampling_ratio
        self.window = output_size[0] * sampling_ratio, output_size[1] * sampling_ratio
        self.spatial_scale = spatial_scale

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Features (B, C, H, W) and boxes (N, 6) to (N, C, h, w).

        A box is its image, the x and y of its centre, width and height in pixels, and the degrees by which it
        is turned counterclockwise.
        """
        image, geometry, degrees = boxes.split((1, 4, 1), 1)
        matrices = _onto_window(geometry * self.spatial_scale, degrees.deg2rad(), self.window)
        samples = affine_align(features, matrices, image[:, 0].long(), self.window, convention="half_pixel")
        return functional.avg_pool2d(samples, self.sampling_ratio)


def _onto_window(geometry: Tensor, angle: Tensor, window: tuple[int, int]) -> Tensor:
    """Matrices (N, 2, 3) that move boxes x, y, width, height (N, 4), turned by angles (N, 1), to a window."""
    centre, size = geometry.split(2, 1)
    window_size = size.new_tensor([window[1], window[0]])
    cos, sin = angle.cos(), angle.sin()
    turn = torch.cat((cos, -sin, sin, cos), 1).view(-1, 2, 2)
    linear = turn * (window_size / size)[:, :, None]
    moved_centre = (linear * centre[:, None]).sum(2)
    return torch.cat((linear, (window_size / 2 - moved_centre)[:, :, None]), 2)


class RotatedBoxHead(nn.Module):
    """What follows the proposals, as in torchvision's RoIHeads: pooling, two layers, and two predictions."""

    def __init__(self, channels: int, classes: int, spatial_scale: float) -> None:
        super().__init__()
        self.pool = RotatedRoIAlign((7, 7), spatial_scale)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * 7 * 7, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()
        )
        self.scores = nn.Linear(256, classes)
        self.corrections = nn.Linear(256, 5 * classes)

    def forward(self, features: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores (N, classes) and corrections of the boxes (N, 5 classes)."""
        pooled = self.layers(self.pool(features, boxes))
        return self.scores(pooled), self.corrections(pooled)


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    head = RotatedBoxHead(channels=64, classes=16, spatial_scale=1 / 4).to(device)
    features = torch.randn(2, 64, 50, 50, device=device)
    boxes = torch.tensor([[0, 80, 90, 60, 30, 25], [1, 100, 60, 40, 90, -70.0]], device=device)
    scores, corrections = head(features, boxes.requires_grad_())
    (gradient,) = torch.autograd.grad(scores.logsumexp(1).sum(), boxes)
    print(f"scores {tuple(scores.shape)}, corrections {tuple(corrections.shape)}")
    print("gradient to x, y, width, height and degrees:", gradient[:, 1:].tolist())


if __name__ == "__main__":
    main()
