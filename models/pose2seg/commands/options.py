"""Models and devices for the options that several commands share."""

import argparse

import torch

from pose2seg.common.errors import InputError
from pose2seg.network import checkpoint
from pose2seg.network.inference import fastest_precision, for_inference
from pose2seg.network.model import Pose2Seg
from pose2seg.network.templates import load_templates
from pose2seg_ops import CUDA_VERSION


def load_model(options: argparse.Namespace) -> Pose2Seg:
    """Returns the model of --weights and --templates, in evaluation mode on the CPU."""
    templates = None if options.templates is None else load_templates(options.templates)
    return checkpoint.load_model(options.weights, templates)


def load_for_inference(options: argparse.Namespace, device: torch.device) -> Pose2Seg:
    """Returns the model of --weights and --templates, on a device, as --precision and --flip say."""
    model = make_ready(load_model(options), options, device)
    model.flip = options.flip
    return model


def make_ready(model: Pose2Seg, options: argparse.Namespace, device: torch.device) -> Pose2Seg:
    """Returns a copy of a model that can only predict, on a device, in the precision of --precision."""
    is_auto = options.precision == "auto"
    dtype = fastest_precision(device) if is_auto else getattr(torch, options.precision)
    return for_inference(model.to(device), dtype)


def find_device(name: str) -> torch.device:
    """Returns the device of --device. Raises InputError if it does not exist."""
    if name == "auto":
        return torch.device("cuda" if CUDA_VERSION is not None and torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{name}" if name.isdecimal() else name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"--device must be auto, cpu, cuda, cuda:N or N, got {name}")
    if device.type == "cuda" and CUDA_VERSION is None:
        raise InputError(
            f"--device {name}: pose2seg_ops is built without CUDA kernels; build it with nvcc on the PATH"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices")
    return device
