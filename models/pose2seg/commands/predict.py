"""`pose2seg predict`: photographs and poses in, masks out."""

import argparse
import sys
import time

import cv2

from pose2seg.checkpoint import load_checkpoint
from pose2seg.commands import arguments
from pose2seg.model import Pose2Seg
from pose2seg.poses import read_poses
from pose2seg.predict import find_photographs, predict_to_file
from pose2seg.templates import load_templates

_DESCRIPTION = """\
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

_EXAMPLES = """\
examples:
  pose2seg predict val2017 --poses person_keypoints_val2017.json \\
      --weights pose2seg_release.pkl --templates templates.json \\
      --output masks.json
  pose2seg predict a.jpg b.jpg --poses detections.json \\
      --weights model.safetensors --templates templates.json \\
      --output masks.json --overlays pictures --device cuda:1

exit codes: 0 done, 2 something to put right, told in one line, 130 interrupted
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "predict",
        help="photographs and poses in, masks out",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=arguments.path,
        metavar="IMAGE_OR_FOLDER",
        help="photographs, or folders of them; images in a folder that are not in the poses file are skipped",
    )
    files = parser.add_argument_group("required options").add_argument
    files(
        "--poses",
        required=True,
        type=arguments.path,
        metavar="FILE",
        help="COCO annotations or keypoint results",
    )
    files(
        "--weights",
        required=True,
        type=arguments.path,
        metavar="FILE",
        help="the official Pose2Seg weights (a torch pickle), or a .safetensors file of this package",
    )
    files(
        "--templates",
        required=True,
        type=arguments.path,
        metavar="FILE",
        help="pose templates, the official JSON file",
    )
    files("--output", required=True, type=arguments.path, metavar="FILE", help="COCO results to write")
    option = parser.add_argument
    option(
        "--overlays",
        type=arguments.path,
        metavar="FOLDER",
        help="also write a picture of each image here: NAME.png",
    )
    arguments.add_device(parser)
    option(
        "--batch-size",
        type=arguments.positive,
        default=4,
        metavar="N",
        help="images that go through the network at once (default: %(default)s)",
    )
    option(
        "--threshold",
        type=arguments.probability,
        default=0.5,
        metavar="P",
        help="probability above which a pixel belongs to the person (default: %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    # A damaged image is reported once, by us.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    device = arguments.find_device(options.device)
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
