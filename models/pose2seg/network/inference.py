"""Preparation of a model for faster prediction."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pose2seg.network.fusion import can_fuse, fuse_convolutions
from pose2seg.network.model import Pose2Seg


def for_inference(model: Pose2Seg, dtype: torch.dtype = torch.float32) -> Pose2Seg:
    """Returns a copy of a model for prediction only, on the same device and in evaluation mode.

    Its batch norms are folded into the convolutions before them, and its weights are channels_last and have
    the dtype `dtype`. On the CPU, its convolutions are also fused with the additions and activations after
    them; such a copy cannot be moved to another device. In float32 the masks equal those of the model up to
    rounding; bfloat16 and float16 are faster if the processor has instructions for them.
    """
    ready = fold_batch_norms(model, dtype)
    if can_fuse(ready.segnet.conv1.weight):
        ready.set_submodule("segnet", fuse_convolutions(ready.segnet))
        if ready.backbone.foldable:
            ready.set_submodule("backbone", fuse_convolutions(ready.backbone))
    return ready


def fold_batch_norms(model: Pose2Seg, dtype: torch.dtype = torch.float32) -> Pose2Seg:
    """Returns a copy of a model in evaluation mode, with batch norms folded into their convolutions."""
    ready = copy.deepcopy(model).eval().requires_grad_(False)
    in_order = [ready.segnet, *([ready.backbone] if ready.backbone.foldable else [])]
    for module in (module for part in in_order for module in part.modules()):
        _fold_batch_norms_of(module)
    return ready.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


def fastest_precision(device: torch.device) -> torch.dtype:
    """Returns the dtype in which a device computes convolutions fastest without harm to the masks.

    It is bfloat16 on processors with instructions for it (AMX or AVX512-BF16) and on GPUs of compute
    capability 8.0 or higher, float16 on GPUs of 7.x, and float32 on all others.
    """
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return torch.bfloat16 if major >= 8 else torch.float16 if major == 7 else torch.float32
    capabilities = torch.cpu.get_capabilities()
    has_bfloat16 = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return torch.bfloat16 if has_bfloat16 else torch.float32


def _fold_batch_norms_of(module: nn.Module) -> None:
    """Folds the batch norms among the direct children of a module, in which each follows its convolution."""
    for (convolution_name, convolution), (norm_name, norm) in pairwise(list(module.named_children())):
        if isinstance(norm, nn.BatchNorm2d):
            assert isinstance(convolution, nn.Conv2d)
            setattr(module, convolution_name, fuse_conv_bn_eval(convolution, norm))
            setattr(module, norm_name, nn.Identity())
