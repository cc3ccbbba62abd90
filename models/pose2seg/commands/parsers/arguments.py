"""Arguments and types of arguments that several commands share."""

import argparse
import math
from pathlib import Path
from typing import NoReturn, TypeAlias, get_args

from pose2seg.common.choices import (
    BUNDLED_WEIGHTS,
    ENCODERS,
    JOINT_THRESHOLD,
    KEYPOINT_RCNN_JOINT_THRESHOLD,
    OPENPOSE_JOINT_THRESHOLD,
    TIMM,
    Precision,
    is_encoder,
    weights_path,
)
from pose2seg.common.errors import InputError
from pose2seg.common.text import shown


class Parser(argparse.ArgumentParser):
    """A parser that raises InputError for wrong arguments."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_dataset(parser: Parser) -> None:
    """Adds ANNOTATIONS and FOLDER, the arguments of `read_dataset`."""
    parser.add_argument("annotations", type=path, metavar="ANNOTATIONS", help="a COCO-format file")
    parser.add_argument(
        "images", type=path, metavar="FOLDER", help='the folder that each "file_name" is relative to'
    )


def add_batch_size(parser: Parser) -> None:
    """Adds --batch-size, for a prediction."""
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=4,
        metavar="N",
        help="the number of images per batch (default: %(default)s)",
    )


def add_joint_threshold(parser: Parser) -> None:
    """Adds --joint-threshold, for `open_poses`."""
    parser.add_argument(
        "--joint-threshold",
        type=number,
        metavar="C",
        help="the lowest confidence, on the scale of the poses, of a joint that is used; others are missing "
        f"(default: {JOINT_THRESHOLD}; for OpenPose {OPENPOSE_JOINT_THRESHOLD}; for Keypoint R-CNN "
        f"{KEYPOINT_RCNN_JOINT_THRESHOLD:g}, a logit; use 0.05 for results of Detectron2). "
        "Annotations have flags, not confidences",
    )


def add_model(parser: Parser) -> None:
    """Adds --weights and --templates, for `options.load_model`."""
    parser.add_argument(
        "--weights",
        type=weights,
        default=BUNDLED_WEIGHTS,
        metavar="FILE",
        help="a .safetensors file of this package, or the official Pose2Seg weights, a torch pickle "
        "(default: small, the model that comes with this package)",
    )
    parser.add_argument(
        "--templates",
        type=path,
        metavar="FILE",
        help="pose templates, a JSON file in the official format (default: those in the file of the weights; "
        "official weights have none and need the original's modeling/templates.json)",
    )


def add_device(parser: Parser) -> None:
    """Adds --device, for `options.find_device`."""
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:N or N (default: auto, which is cuda if there is a GPU with kernels)",
    )


def add_precision(parser: Parser) -> None:
    """Adds --precision, for `options.load_for_inference`."""
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="the precision of the network (default: auto, which is bfloat16 or float16 if the processor or "
        "the GPU has instructions for it, and float32 otherwise)",
    )


def add_flip(parser: Parser) -> None:
    """Adds --flip, for `options.load_for_inference`."""
    parser.add_argument(
        "--flip",
        action="store_true",
        help="average the masks with those of the mirrored images: they are better, and take twice the time",
    )


def add_quiet(parser: Parser) -> None:
    """Adds --quiet, for a command that shows its progress."""
    parser.add_argument("--quiet", action="store_true", help="write only warnings and errors to the terminal")


def file(text: str) -> Path:
    """Parses an argument that is a file to write, or - for the standard output."""
    if text.endswith("/"):  # Path would drop the slash
        raise argparse.ArgumentTypeError(f"must be a file, got the folder {text}")
    return Path("/dev/stdout") if text == "-" else path(text)


def path(text: str) -> Path:
    """Parses an argument that is a path."""
    if text == "-":
        raise argparse.ArgumentTypeError("must be a path, got '-' (use ./- for a file of that name)")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"must be a path without NUL bytes, got {shown(text)}")
    return Path(text)


def weights(text: str) -> Path:
    """Parses an argument that is a file of weights, or the name of weights of the package."""
    path(text)  # raises an error if it is not a path
    return weights_path(text)


def frames(text: str) -> range:
    """Parses an argument that is a range of frames, FIRST-LAST."""
    first, _, last = text.partition("-")
    are_numbers = all(each.isdecimal() and len(each) <= 9 for each in (first, last))
    if not are_numbers or int(first) > int(last):
        raise argparse.ArgumentTypeError(f"must be FIRST-LAST, such as 0-99, got {shown(text)}")
    return range(int(first), int(last) + 1)


def encoder(text: str) -> str:
    """Parses an argument that is the name of an encoder."""
    if not is_encoder(text):
        expected = f"{', '.join(ENCODERS)} or {TIMM}NAME"
        raise argparse.ArgumentTypeError(f"must be one of {expected}, got {shown(text)}")
    return text


def positive(text: str) -> int:
    """Parses an argument that is an integer of at least 1."""
    return _integer(text, 1)


def not_negative(text: str) -> int:
    """Parses an argument that is an integer of at least 0."""
    return _integer(text, 0)


def _integer(text: str, smallest: int) -> int:
    if not text.isdecimal() or len(text) > 9 or int(text) < smallest:
        raise argparse.ArgumentTypeError(
            f"must be an integer from {smallest} to 999999999, got {shown(text)}"
        )
    return int(text)


def seed(text: str) -> int:
    """Parses an argument that is a seed for NumPy's random numbers."""
    if not text.isdecimal() or len(text) > 10 or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to {2**32 - 1}, got {shown(text)}")
    return int(text)


def positive_number(text: str) -> float:
    """Parses an argument that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {shown(text)}")
    return value


def number(text: str) -> float:
    """Parses an argument that is a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {shown(text)}")
    return value


def probability(text: str) -> float:
    """Parses an argument that is a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {shown(text)}")
    return value
