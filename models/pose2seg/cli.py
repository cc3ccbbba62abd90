"""The command line: `pose2seg COMMAND ...`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import cv2
import torch

from pose2seg.checkpoint import load_checkpoint
from pose2seg.errors import InputError
from pose2seg.files import shown
from pose2seg.model import Pose2Seg
from pose2seg.poses import read_poses
from pose2seg.predict import find_photographs, predict_to_file
from pose2seg.templates import load_templates
from pose2seg_ops._build_info import CUDA_VERSION, WHY_NO_CUDA


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code: 0; 2 for what the user can put right; 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _failed("out of memory: try a smaller --batch-size")
    except KeyboardInterrupt:
        return 130
    return 0


def _failed(message: str) -> int:
    print(f"pose2seg: error: {' '.join(message.splitlines())}", file=sys.stderr)
    return 2


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a class for it on a GPU only."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_failed(f"{message} (see {self.prog} --help)"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pose2seg", description="Instance masks of people from their poses.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_predict(commands)
    return parser


_PREDICT = """\
Make a mask of every person in the photographs whose pose is known.

The poses come from one JSON file, of either COCO form:
  annotations  {"images": ..., "annotations": ...}
               An image is found by its "file_name", which its path must end in.
               Crowds and people without a labelled joint are left out.
  results      [{"image_id": ..., "keypoints": ..., "score": ...}, ...]
               An image is found by its "image_id", which its name must be,
               with or without extension or leading zeros. A joint is missing
               where its third value is 0, and visible otherwise.

The masks are written as COCO results, ready for pycocotools:
  [{"image_id", "category_id", "segmentation", "score", "annotation_id"}, ...]
in the order of the images, and of the people in the poses file. The score is
the pose's, 1 for annotations; "annotation_id" is there where the poses file has
ids. An existing file is replaced, when all is done and not before; a pipe or a
device, such as /dev/stdout, is written to.
"""

_PREDICT_EXAMPLES = """\
examples:
  pose2seg predict val2017 --poses person_keypoints_val2017.json \\
      --weights pose2seg_release.pkl --templates templates.json \\
      --output masks.json
  pose2seg predict a.jpg b.jpg --poses detections.json \\
      --weights model.safetensors --templates templates.json \\
      --output masks.json --overlays pictures --device cuda:1

exit codes: 0 done, 2 something to put right, told in one line, 130 interrupted
"""


def _add_predict(commands: "argparse._SubParsersAction[_Parser]") -> None:
    parser = commands.add_parser(
        "predict",
        help="photographs and poses in, masks out",
        description=_PREDICT,
        epilog=_PREDICT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=_path,
        metavar="IMAGE_OR_FOLDER",
        help="photographs, or folders of them; images in a folder that are not in the poses file are skipped",
    )
    files = parser.add_argument_group("required options").add_argument
    files("--poses", required=True, type=_path, metavar="FILE", help="COCO annotations or keypoint results")
    files(
        "--weights",
        required=True,
        type=_path,
        metavar="FILE",
        help="the official Pose2Seg weights (a torch pickle), or a .safetensors file of this package",
    )
    files(
        "--templates",
        required=True,
        type=_path,
        metavar="FILE",
        help="pose templates, the official JSON file",
    )
    files("--output", required=True, type=_path, metavar="FILE", help="COCO results to write")
    option = parser.add_argument
    option(
        "--overlays", type=_path, metavar="FOLDER", help="also write a picture of each image here: NAME.png"
    )
    option(
        "--device",
        default="auto",
        help="auto, cpu, cuda or cuda:N (default: auto, cuda where there is a GPU with kernels for it)",
    )
    option(
        "--batch-size",
        type=_positive,
        default=4,
        metavar="N",
        help="images that go through the network at once (default: %(default)s)",
    )
    option(
        "--threshold",
        type=_probability,
        default=0.5,
        metavar="P",
        help="probability above which a pixel belongs to the person (default: %(default)s)",
    )
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    # A damaged image is reported once, by us.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    device = _device(options.device)
    photographs, unknown = find_photographs(options.inputs, read_poses(options.poses))
    model = Pose2Seg(load_templates(options.templates))
    load_checkpoint(model, options.weights)
    masks = predict_to_file(
        model.eval().to(device),
        photographs,
        options.output,
        overlays=options.overlays,
        batch_size=options.batch_size,
        threshold=options.threshold,
        keep=[options.poses, options.weights, options.templates],
    )
    seconds = time.perf_counter() - start
    skipped = f"; {len(unknown)} skipped that {options.poses} does not list" if unknown else ""
    summary = f"{options.output}: {masks} masks from {len(photographs)} images in {seconds:.1f} s{skipped}"
    print(summary, file=sys.stderr)  # stdout may be the output


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if CUDA_VERSION is not None and torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"--device must be auto, cpu, cuda or cuda:N, got {name}")
    if device.type == "cuda" and CUDA_VERSION is None:
        raise InputError(f"--device {name}: pose2seg_ops is built without CUDA kernels: {WHY_NO_CUDA}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def _path(text: str) -> Path:
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"must be a path, which holds no NUL byte, got {shown(text)}")
    return Path(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to 999999999, got {shown(text)}")
    return int(text)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {shown(text)}")
    return value
