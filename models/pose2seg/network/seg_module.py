"""The segmentation head, which computes one person's mask from the aligned features and skeleton."""

import torch.nn.functional as F
from torch import Tensor, nn

from pose2seg.network.bottleneck import Bottleneck, stage


class UpsamplingBottleneck(Bottleneck):
    """A bottleneck at twice the resolution of its input, (N, C, H, W) -> (N, 4 planes, 2 H, 2 W).

    It equals a bottleneck on the interpolated input. The 1x1 convolutions, which are linear in each pixel,
    are computed before the interpolation, which takes a quarter of the work.
    """

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.downsample, nn.Sequential)
        convolution, norm = self.downsample
        y = F.relu(self.bn1(_double(self.conv1(x))), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + norm(_double(convolution(x))), inplace=True)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class SegModule(nn.Module):
    """The SegModule of Pose2Seg (Zhang et al., CVPR 2019).

    It has residual blocks at half the resolution of the RoI, and one at full resolution.

    in_channels: the channels of the features and of the skeleton together.
    width: the channels after the first convolution.
    blocks: the number of bottlenecks at half resolution.
    """

    def __init__(self, in_channels: int, width: int, blocks: int) -> None:
        super().__init__()
        wide = width * Bottleneck.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = stage(width, width, blocks, bias=True)
        self.decoder1 = nn.Sequential(UpsamplingBottleneck(wide, width // 2, bias=True))
        self.pred_small = nn.Conv2d(wide // 2, 2, 1)

    def forward(self, rois: Tensor) -> Tensor:
        """Maps RoIs (N, in_channels, h, w) with even h and w to logits (N, 2, h, w): background, person."""
        x = F.relu(self.bn1(self.conv1(rois)), inplace=True)
        logits: Tensor = self.pred_small(self.decoder1(self.layer1(x)))
        return logits
