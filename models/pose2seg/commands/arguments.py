"""What the commands' arguments have in common."""

import argparse
import math
from pathlib import Path
from typing import NoReturn, TypeAlias

import torch

from pose2seg import checkpoint
from pose2seg.errors import InputError
from pose2seg.files import shown
from pose2seg.model import Pose2Seg
from pose2seg.poses import openpose
from pose2seg.poses.estimators import POSE_ESTIMATORS
from pose2seg.poses.joints import JOINT_THRESHOLD
from pose2seg.templates import load_templates
from pose2seg_ops import CUDA_VERSION


class Parser(argparse.ArgumentParser):
    """A parser that raises InputError for wrong arguments."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_dataset(parser: Parser) -> None:
    """ANNOTATIONS and FOLDER, as `read_dataset` takes them."""
    parser.add_argument("annotations", type=path, metavar="ANNOTATIONS", help="a COCO-format file")
    parser.add_argument("images", type=path, metavar="FOLDER", help='that each "file_name" is relative to')


def add_batch_size(parser: Parser) -> None:
    """--batch-size, of a prediction."""
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=4,
        metavar="N",
        help="images that go through the network at once (default: %(default)s)",
    )


def add_joint_threshold(parser: Parser) -> None:
    """--joint-threshold, as `open_poses` takes it."""
    parser.add_argument(
        "--joint-threshold",
        type=number,
        metavar="C",
        help="the confidence, as the poses give it, from which a joint is used; others are missing (default: "
        f"{JOINT_THRESHOLD}; OpenPose {openpose.JOINT_THRESHOLD}; Keypoint R-CNN "
        f"{POSE_ESTIMATORS['keypoint-rcnn'].joint_threshold:g}, a logit; results of Detectron2 want 0.05). "
        "Annotations have flags, and no confidences",
    )


def add_model(parser: Parser) -> None:
    """--weights and --templates, which `load_model` understands."""
    parser.add_argument(
        "--weights",
        type=path,
        default=checkpoint.BUNDLED_WEIGHTS,
        metavar="FILE",
        help="a .safetensors file of this package, or the official Pose2Seg weights, a torch pickle "
        "(default: the small model that comes with this package)",
    )
    parser.add_argument(
        "--templates",
        type=path,
        metavar="FILE",
        help="pose templates, a JSON file in the official format (default: those in the file of the weights; "
        "official weights hold none and want the original's modeling/templates.json)",
    )


def load_model(options: argparse.Namespace) -> Pose2Seg:
    """The model that --weights and --templates name, in evaluation mode on the CPU."""
    templates = None if options.templates is None else load_templates(options.templates)
    return checkpoint.load_model(options.weights, templates)


def add_device(parser: Parser) -> None:
    """--device, which `find_device` understands."""
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda or cuda:N (default: auto, cuda where there is a GPU with kernels for it)",
    )


def find_device(name: str) -> torch.device:
    """The device that --device names. Raises InputError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if CUDA_VERSION is not None and torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"--device must be auto, cpu, cuda or cuda:N, got {name}")
    if device.type == "cuda" and CUDA_VERSION is None:
        raise InputError(
            f"--device {name}: pose2seg_ops is built without CUDA kernels; build it where nvcc is on PATH"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def path(text: str) -> Path:
    """An argument's type: any path."""
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"must be a path, which holds no NUL byte, got {shown(text)}")
    return Path(text)


def positive(text: str) -> int:
    """An argument's type: an integer of at least 1."""
    return _integer(text, 1)


def not_negative(text: str) -> int:
    """An argument's type: an integer of at least 0."""
    return _integer(text, 0)


def _integer(text: str, smallest: int) -> int:
    if not text.isdecimal() or len(text) > 9 or int(text) < smallest:
        raise argparse.ArgumentTypeError(
            f"must be an integer from {smallest} to 999999999, got {shown(text)}"
        )
    return int(text)


def seed(text: str) -> int:
    """An argument's type: a seed of random numbers, as numpy takes it."""
    if not text.isdecimal() or len(text) > 10 or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to {2**32 - 1}, got {shown(text)}")
    return int(text)


def positive_number(text: str) -> float:
    """An argument's type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {shown(text)}")
    return value


def number(text: str) -> float:
    """An argument's type: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {shown(text)}")
    return value


def probability(text: str) -> float:
    """An argument's type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {shown(text)}")
    return value
