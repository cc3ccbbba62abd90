"""The segmentation head, which turns one person's aligned features and skeleton into a mask."""

import torch.nn.functional as F
from torch import Tensor, nn

from pose2seg.bottleneck import Bottleneck, stage


class SegModule(nn.Module):
    """The SegModule of Pose2Seg (Zhang et al., CVPR 2019).

    Residual blocks at half the resolution of the RoI, and one at the full.

    in_channels: channels of the features and of the skeleton together.
    width: channels after the first convolution.
    blocks: bottlenecks at half resolution.
    """

    def __init__(self, in_channels: int, width: int = 256, blocks: int = 10) -> None:
        super().__init__()
        wide = width * Bottleneck.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = stage(width, width, blocks, bias=True)
        self.decoder1 = stage(wide, width // 2, 1, bias=True)
        self.pred_small = nn.Conv2d(wide // 2, 2, 1)

    def forward(self, rois: Tensor) -> Tensor:
        """RoIs (N, in_channels, h, w) with even h and w -> logits (N, 2, h, w): background, person."""
        x = F.relu(self.bn1(self.conv1(rois)), inplace=True)
        x = self.layer1(x)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        logits: Tensor = self.pred_small(self.decoder1(x))
        return logits
