"""`pose2seg predict`: photographs and poses in, masks out."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from pose2seg import distributed
from pose2seg.commands import arguments
from pose2seg.commands.messages import dataset_warnings
from pose2seg.counts import counted
from pose2seg.errors import InputError
from pose2seg.files import real_path
from pose2seg.inference import for_inference
from pose2seg.journal import journal_folder
from pose2seg.photographs import Photograph, find_photographs
from pose2seg.poses import PoseFile, PoseSource, open_poses
from pose2seg.poses.estimators import POSE_ESTIMATORS, open_estimator
from pose2seg.predict import Prediction, predict_to_file

SOME_LEFT_OUT = 3  # the exit code

_DESCRIPTION = """\
Make a mask of every person in the photographs whose pose is known.

The poses come from a pose estimator, or from a file or a folder:
  COCO annotations  {"images": ..., "annotations": ...}
               An image is found by its "file_name", which its path must end in.
               Crowds and people without a labelled joint are left out. Joints are
               known by the names in "categories", however they are spelt, and
               people by a category that is called a person.
  COCO results  [{"image_id": ..., "keypoints": ..., "score": ...}, ...]
               An image is found by its "image_id", which its name must be,
               with or without extension or leading zeros. AlphaPose writes this
               form; of more than 17 joints, the first 17 count.
  OpenPose     a folder of NAME_keypoints.json, as --write_json makes it, of
               BODY_25, BODY_25B or COCO joints
  YOLO         a folder of NAME.txt, labels or predictions of the 17 joints

A joint is missing where its confidence is below --joint-threshold, 0 in any
case, or where it is at (0, 0); others are visible. Annotations, and files where
all of these numbers are 0, 1 and 2, have COCO's visibility instead: 0 missing,
1 occluded, 2 visible. Where no joint at all has 2, 1 is visible.

The masks are written as COCO results, ready for pycocotools:
  [{"image_id", "category_id", "segmentation", "score", "annotation_id",
    "track_id"}, ...]
in the order of the images, and of the people in the poses. The score is the
pose's, 1 for annotations; "annotation_id" and "track_id" are there where
the poses have them.
Without a file that gives ids, "image_id" is the image's name, as a number if it
is one. An existing file is replaced, when all is done and not before; a pipe or
a device, such as /dev/stdout, is written to. An image that cannot be read is
left out, and a warning says which and why.

What is done is kept beside the output, in FILE.unfinished: whatever stops the
command, it goes on with --resume.
"""

_EXAMPLES = """\
examples:
  pose2seg predict a.jpg b.jpg --pose-estimator keypoint-rcnn \\
      --output masks.json --report masks.html
  pose2seg predict val2017 --poses person_keypoints_val2017.json \\
      --weights pose2seg_release.pkl --templates modeling/templates.json \\
      --output masks.json
  pose2seg predict frames --poses openpose --weights model.safetensors \\
      --output masks.json --device cuda:1

in two processes, one for each GPU where there are any, with the same result:
  torchrun --nproc-per-node 2 --no-python pose2seg predict ...

exit codes: 0 done, 2 an error that you can fix, told in one line, 3 done, but
some images were left out, 130 interrupted
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
        help="photographs, or folders of them; images in a folder that the poses do not list are skipped",
    )
    poses = parser.add_argument_group("poses, one of").add_mutually_exclusive_group(required=True)
    poses.add_argument(
        "--poses",
        type=arguments.path,
        metavar="FILE_OR_FOLDER",
        help="COCO annotations or keypoint results, or a folder of OpenPose's or YOLO's files",
    )
    poses.add_argument(
        "--pose-estimator",
        choices=sorted(POSE_ESTIMATORS),
        help="find the poses in the photographs, with torchvision: pip install 'pose2seg_ops[estimators]'",
    )
    arguments.add_joint_threshold(parser)
    option = parser.add_argument
    option("--output", required=True, type=_file, metavar="FILE", help="COCO results to write")
    option(
        "--overlays",
        type=arguments.path,
        metavar="FOLDER",
        help="also write a picture of each image here: NAME.png",
    )
    option(
        "--report",
        type=_file,
        metavar="PAGE",
        help="also write a page to look at, PAGE.html: photographs, masks that can be hidden, skeletons, "
        "scores and times in one file",
    )
    arguments.add_model(parser)
    arguments.add_device(parser)
    arguments.add_batch_size(parser)
    option(
        "--threshold",
        type=arguments.probability,
        default=0.5,
        metavar="P",
        help="probability above which a pixel belongs to the person (default: %(default)s)",
    )
    option(
        "--resume",
        action="store_true",
        help="go on with a prediction that was stopped; the poses and the weights have to be the same, "
        "and all its photographs still be there",
    )
    parser.set_defaults(run=_run)


def _file(text: str) -> Path:
    """A name of a file to write; Path would drop what tells that a folder is meant."""
    if text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{text} is the name of a folder, expected that of a file")
    return arguments.path(text)


def _run(options: argparse.Namespace) -> int:
    with distributed.joined(arguments.find_device(options.device)) as device, dataset_warnings():
        try:
            return _predict(options, device)
        except KeyboardInterrupt:
            folder = journal_folder(options.output)
            if distributed.rank() == 0 and folder.exists():
                done = f"what is done is in {folder}, and the same command with --resume goes on"
                print(f"pose2seg: interrupted: {done}", file=sys.stderr)
            raise


def _predict(options: argparse.Namespace, device: torch.device) -> int:
    start = time.perf_counter()
    _keep_pictures_apart(options.overlays, options.inputs)
    poses: PoseSource
    if options.pose_estimator is not None:
        poses = open_estimator(options.pose_estimator, device, options.joint_threshold)
    else:
        poses = open_poses(options.poses, options.joint_threshold)
    model = for_inference(arguments.load_model(options))
    photographs, unknown = find_photographs(options.inputs, poses)
    ready = time.perf_counter()
    prediction = predict_to_file(
        model.to(device),
        photographs,
        options.output,
        overlays=options.overlays,
        report=options.report,
        batch_size=options.batch_size,
        threshold=options.threshold,
        inputs={"poses": options.poses, "weights": options.weights, "templates": options.templates},
        resume=options.resume,
    )
    if distributed.rank() == 0:
        end = time.perf_counter()
        rate = (prediction.images - prediction.done_before) / (end - ready)
        skipped = f"; {len(unknown)} skipped that {options.poses} does not list" if unknown else ""
        skipped += _tell_absent(poses, photographs, options.inputs)
        summary = _summarise(prediction, rate, end - start)
        print(f"{options.output}: {summary}{skipped}", file=sys.stderr)  # stdout may be the output
    return SOME_LEFT_OUT if prediction.left_out else 0


def _keep_pictures_apart(overlays: Path | None, inputs: Sequence[Path]) -> None:
    """Raise InputError if the next prediction would take pictures of this one for photographs."""
    if overlays is not None and real_path(overlays) in map(real_path, inputs):
        raise InputError(f"{overlays}: is the folder of the photographs, the pictures need one of their own")


def _tell_absent(poses: PoseSource, photographs: Sequence[Photograph], inputs: Sequence[Path]) -> str:
    """How many images a file of poses lists that are not there, where whole folders are to be done."""
    if not isinstance(poses, PoseFile) or not all(path.is_dir() for path in inputs):
        return ""
    listed = {image.image_id for image in poses.images.values()}
    absent = len(listed) - len(photographs)
    return f"; {counted(absent, 'image', 'images')} of the poses not found" if absent else ""


def _summarise(prediction: Prediction, rate: float, seconds: float) -> str:
    masks, images, left_out, done_before = prediction
    before = f"; {counted(done_before, 'image was', 'images were')} done before" if done_before else ""
    without = f"; {left_out} left out that cannot be read" if left_out else ""
    made = f"{counted(masks, 'mask', 'masks')} from {counted(images, 'image', 'images')}"
    return f"{made} in {seconds:.1f} s, {rate:.1f} images/s{before}{without}"
