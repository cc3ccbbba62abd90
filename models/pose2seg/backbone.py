"""The feature extractor: a ResNet and the finest level of a feature pyramid on it."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pose2seg.bottleneck import Bottleneck, stage


class Backbone(nn.Module):
    """ResNet (He et al., CVPR 2016) with the level of stride 4 of an FPN (Lin et al., CVPR 2017).

    The stride of a stage is on its first 1x1 convolution and not on the 3x3 one as in torchvision: the same
    weights fit both, and give other features. Parameters have torchvision's names, those of the pyramid the
    original's.

    blocks: bottlenecks in each of the four stages, (3, 4, 6, 3) for ResNet-50.
    width: planes of the first stage; they double with every stage.
    channels: channels of the features.
    """

    stride = 4

    def __init__(self, blocks: Sequence[int], width: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        c1, c2, c3, c4 = (width * 2**i * Bottleneck.expansion for i in range(4))
        self.layer1 = stage(width, width, blocks[0])
        self.layer2 = stage(c1, width * 2, blocks[1], stride=2)
        self.layer3 = stage(c2, width * 4, blocks[2], stride=2)
        self.layer4 = stage(c3, width * 8, blocks[3], stride=2)

        self.fpn_c4p4 = nn.Conv2d(c4, channels, 1)
        self.fpn_c3p3 = nn.Conv2d(c3, channels, 1)
        self.fpn_c2p2 = nn.Conv2d(c2, channels, 1)
        self.fpn_c1p1 = nn.Conv2d(c1, channels, 1)
        self.fpn_p1 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised RGB images (B, 3, H, W) -> features (B, channels, H/4, W/4)."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        c1 = self.layer1(x)
        c2 = self.layer2(c1)
        c3 = self.layer3(c2)
        p4 = self.fpn_c4p4(self.layer4(c3))
        p3 = _upsample_to(p4, self.fpn_c3p3(c3))
        p2 = _upsample_to(p3, self.fpn_c2p2(c2))
        p1 = _upsample_to(p2, self.fpn_c1p1(c1))
        smoothed: Tensor = self.fpn_p1(p1)
        return smoothed


def _upsample_to(coarse: Tensor, lateral: Tensor) -> Tensor:
    return lateral + F.interpolate(coarse, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
