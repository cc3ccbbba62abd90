"""ResNet, the encoder of the original."""

from collections.abc import Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pose2seg.network.backbone import Backbone
from pose2seg.network.bottleneck import Bottleneck, stage


class ResNet(Backbone):
    """ResNet (He et al., CVPR 2016).

    The stride of a stage is on its first 1x1 convolution, and not on the 3x3 one as in torchvision. The same
    weights fit both, but give different features. Parameters have torchvision's names.

    blocks: the number of bottlenecks in each of the four stages, (3, 4, 6, 3) for ResNet-50.
    width: the planes of the first stage, which double with every stage.
    channels: the channels of the features.
    """

    def __init__(self, blocks: Sequence[int], width: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        c1, c2, c3, c4 = (width * 2**i * Bottleneck.expansion for i in range(4))
        self.layer1 = stage(width, width, blocks[0])
        self.layer2 = stage(c1, width * 2, blocks[1], stride=2)
        self.layer3 = stage(c2, width * 4, blocks[2], stride=2)
        self.layer4 = stage(c3, width * 8, blocks[3], stride=2)
        self.add_pyramid((c1, c2, c3, c4), channels)

    def stages(self, images: Tensor) -> Sequence[Tensor]:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        c1 = self.layer1(x)
        c2 = self.layer2(c1)
        c3 = self.layer3(c2)
        return c1, c2, c3, self.layer4(c3)

    def first_stages(self, count: int) -> Iterable[nn.Module]:
        return (self.conv1, self.bn1, self.layer1, self.layer2, self.layer3, self.layer4)[: 2 + count]

    def imagenet_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key: tensor for key, tensor in weights.items() if not key.startswith("fc.")}
