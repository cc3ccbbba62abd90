"""The feature extractor: an encoder, and the finest level of a feature pyramid on top of its stages."""

from collections.abc import Iterable, Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

#: Mean and standard deviation of the RGB input, for values from 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """An encoder with the stride-4 level of an FPN (Lin et al., CVPR 2017).

    Each subclass is an encoder, and registers its layers next to those of the pyramid, which have the names
    of the original Pose2Seg. `pose2seg.network.encoders.make_backbone` makes the backbone of an architecture.
    """

    stride = 4

    #: Whether each batch norm directly follows its convolution among the children of a module, so that
    #: `for_inference` can fold it.
    foldable = True

    def add_pyramid(self, stages: Sequence[int], channels: int) -> None:
        """Adds the layers of the pyramid; called after those of the encoder were added.

        stages: the channels of the encoder's four stages, of strides 4, 8, 16 and 32.
        channels: the channels of the features.
        """
        c1, c2, c3, c4 = stages
        self.fpn_c4p4 = nn.Conv2d(c4, channels, 1)
        self.fpn_c3p3 = nn.Conv2d(c3, channels, 1)
        self.fpn_c2p2 = nn.Conv2d(c2, channels, 1)
        self.fpn_c1p1 = nn.Conv2d(c1, channels, 1)
        self.fpn_p1 = nn.Conv2d(channels, channels, 3, padding=1)

    def stages(self, images: Tensor) -> Sequence[Tensor]:
        """Runs the encoder: normalised RGB images (B, 3, H, W) -> four maps, of strides 4, 8, 16 and 32."""
        raise NotImplementedError

    def imagenet_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the weights of an ImageNet classifier under the names of this module.

        weights: the weights by their published names; those of the classifier's last layers are left out.
        """
        raise NotImplementedError

    def encoder(self) -> Iterator[nn.Module]:
        """Yields the modules of the encoder: all but those of the pyramid."""
        for name, module in self.named_children():
            if not name.startswith("fpn_"):
                yield module

    def first_stages(self, count: int) -> Iterable[nn.Module]:
        """Returns the modules of the encoder up to the features of stride 2 * 2**count.

        count: the number of stages, from 1 to 4.

        Raises InputError if the encoder does not tell them apart.
        """
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Extracts features: normalised RGB images (B, 3, H, W) -> (B, channels, H/4, W/4)."""
        c1, c2, c3, c4 = self.stages(images)
        p4 = self.fpn_c4p4(c4)
        p3 = _upsample_to(p4, self.fpn_c3p3(c3))
        p2 = _upsample_to(p3, self.fpn_c2p2(c2))
        p1 = _upsample_to(p2, self.fpn_c1p1(c1))
        smoothed: Tensor = self.fpn_p1(p1)
        return smoothed


def _upsample_to(coarse: Tensor, lateral: Tensor) -> Tensor:
    return lateral + F.interpolate(coarse, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
