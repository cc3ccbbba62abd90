"""The encoders of timm, which must be installed to use them."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from pose2seg.common.errors import InputError
from pose2seg.common.torchvision import torchvision_hint
from pose2seg.network.backbone import Backbone

_STRIDES = (4, 8, 16, 32)


class Timm(Backbone):
    """An encoder that timm makes with `features_only`; its weights are random.

    name: a name of `timm.list_models()`.
    channels: the channels of the features.

    Raises InputError if timm cannot be imported, or has no such encoder with features of strides 4 to 32.
    """

    foldable = False  # children are in no fixed order, and timm's batch norms include activations

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self._name = name
        self.timm = _make(name)
        reductions = self.timm.feature_info.reduction()
        self._indices = [reductions.index(stride) for stride in _STRIDES if stride in reductions]
        if len(self._indices) != len(_STRIDES):
            raise InputError(f"timm:{name}: must have features of strides 4, 8, 16 and 32, got {reductions}")
        stages = self.timm.feature_info.channels()
        self.add_pyramid([stages[index] for index in self._indices], channels)

    def stages(self, images: Tensor) -> Sequence[Tensor]:
        features = self.timm(images)
        return [features[index] for index in self._indices]

    def first_stages(self, count: int) -> Iterable[nn.Module]:
        raise InputError(f"frozen_stages must be 0 for the encoder timm:{self._name}, got {count}")

    def imagenet_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone`; the published names are those of timm's classifier."""
        loaded = _make(self._name, pretrained=True, pretrained_cfg_overlay={"state_dict": weights})
        return {f"timm.{key}": tensor for key, tensor in loaded.state_dict().items()}


def _make(name: str, **options: Any) -> Any:
    try:
        import timm  # imported only here, because it takes seconds and few users need it
    except ImportError as error:
        raise InputError(
            f"timm cannot be imported ({error}): install torchvision, which it needs ({torchvision_hint()}), "
            "and then pip install 'pose2seg_ops[encoders]'"
        ) from error
    try:
        return timm.create_model(name, features_only=True, **options)
    except (RuntimeError, AttributeError) as error:  # an unknown name, or a model without stages
        raise InputError(f"timm:{name}: timm cannot make it with features_only: {error}") from error
