"""Rotated boxes in a detector: `roi_align_rotated` in a head like torchvision's."""

import torch
from torch import Tensor, nn

from pose2seg_ops import roi_align_rotated


class RotatedRoIAlign(nn.Module):
    """Pools rotated boxes of a batch of feature maps, with the arguments of detectron2's ROIAlignRotated.

    There are gradients to the features and, which is not usual, to the boxes.

    Args:
        output_size: (h, w) of a pooled box, in bins.
        spatial_scale: pixels of the features a pixel of the image.
        sampling_ratio: samples along each side of a bin, whose mean it is.
    """

    def __init__(self, output_size: tuple[int, int], spatial_scale: float, sampling_ratio: int = 2) -> None:
        super().__init__()
        self.output_size, self.spatial_scale, self.sampling_ratio = output_size, spatial_scale, sampling_ratio

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Features (B, C, H, W) and boxes (N, 6) to (N, C, h, w).

        A box is its image, the x and y of its centre, width and height in pixels, and the degrees by which it
        is turned counterclockwise.
        """
        return roi_align_rotated(
            features, boxes, self.output_size, self.spatial_scale, self.sampling_ratio, degrees=True
        )


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
