"""A model made ready to predict: the same masks, sooner."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pose2seg.model import Pose2Seg


def for_inference(model: Pose2Seg, dtype: torch.dtype = torch.float32) -> Pose2Seg:
    """A copy of a model that can only predict, in evaluation mode.

    Its batch norms are folded into the convolutions before them, and its weights are channels_last and of
    `dtype`. In float32 the masks are those of the model but for rounding; bfloat16 and float16 are faster
    where the processor has instructions for them.
    """
    ready = copy.deepcopy(model).eval().requires_grad_(False)
    for module in ready.modules():
        _fold_batch_norms(module)
    return ready.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _fold_batch_norms(module: nn.Module) -> None:
    """Of the module's own children, in whose order a batch norm follows its convolution."""
    for (convolution_name, convolution), (norm_name, norm) in pairwise(list(module.named_children())):
        if isinstance(norm, nn.BatchNorm2d):
            assert isinstance(convolution, nn.Conv2d)
            setattr(module, convolution_name, fuse_conv_bn_eval(convolution, norm))
            setattr(module, norm_name, nn.Identity())
