"""The encoders of a backbone, by their names."""

from collections.abc import Sequence

from pose2seg.common.choices import ENCODERS, RESNET, TIMM, is_encoder
from pose2seg.network.backbone import Backbone
from pose2seg.network.encoders.efficientnet_lite import EfficientNetLite
from pose2seg.network.encoders.resnet import ResNet
from pose2seg.network.encoders.timm import Timm


def make_backbone(encoder: str, blocks: Sequence[int], width: int, channels: int) -> Backbone:
    """Returns a backbone with random weights, for the fields of an `Architecture`.

    Raises ValueError if the name of the encoder is unknown, and InputError if timm cannot make its encoder.
    """
    if not is_encoder(encoder):
        raise ValueError(f"encoder must be one of {', '.join(ENCODERS)} or timm:NAME, got {encoder!r}")
    if encoder == RESNET:
        return ResNet(blocks, width, channels)
    if encoder.startswith(TIMM):
        return Timm(encoder.removeprefix(TIMM), channels)
    return EfficientNetLite(encoder, channels)
