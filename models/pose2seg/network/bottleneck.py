"""The residual block of the ResNet encoder and of the segmentation head."""

import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """A residual 1x1 - 3x3 - 1x1 block (He et al., CVPR 2016) with the stride on the first 1x1 convolution.

    (N, in_channels, H, W) -> (N, 4 planes, H / stride, W / stride). The parameters have torchvision's names.
    """

    expansion = 4

    def __init__(self, in_channels: int, planes: int, *, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        out_channels = planes * self.expansion
        self.conv1 = nn.Conv2d(in_channels, planes, 1, stride=stride, bias=bias)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=bias)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x), inplace=True)


def stage(
    in_channels: int, planes: int, blocks: int, *, stride: int = 1, bias: bool = False
) -> nn.Sequential:
    """Returns a sequence of bottlenecks, the first of which changes the channels and the resolution."""
    first = Bottleneck(in_channels, planes, stride=stride, bias=bias)
    channels = planes * Bottleneck.expansion
    return nn.Sequential(first, *(Bottleneck(channels, planes, bias=bias) for _ in range(blocks - 1)))
