"""`pose2seg evaluate`: how well the masks of a model meet annotated ones."""

import argparse
import math
import sys
import time
from contextlib import ExitStack

from pose2seg import distributed
from pose2seg.commands import arguments
from pose2seg.commands.messages import dataset_warnings
from pose2seg.counts import counted
from pose2seg.dataset import PersonImage, read_dataset
from pose2seg.errors import InputError
from pose2seg.evaluate import Evaluation, Poses, evaluate, match_poses
from pose2seg.evaluation_files import report_files, require_writable, write_report
from pose2seg.files import remove_unfinished, require_distinct_files
from pose2seg.lock import locked
from pose2seg.poses import open_poses

_DESCRIPTION = """\
Score the masks of a model by COCO's average precision and by their mean IoU, as
Pose2Seg is scored on COCOPersons and OCHuman: the people who count are those
with a pose and a mask; others and crowds are not there, not even to be ignored.

The annotations are in COCO's format, such as
  COCOPersons  person_keypoints_val2017.json, or its _pose2seg subset
  OCHuman      ochuman_coco_format_val_range_0.00_1.00.json, and _test_; its own
               ochuman.json has to be converted by the API that comes with it.
               The area by which it tells small from large is that of the box.
Masks may be polygons or run lengths, compressed or not. An image or a person
that cannot be used is left out, and a warning says which and why.

A mask has the score of its pose: 1 for an annotated one. The scores are
  AP           average precision, mean over the IoU thresholds .50, .55 ... .95
  AP50, AP75   the same at one threshold
  AP small     of people with an annotated area of up to 32^2 pixels,
  AP medium    of up to 96^2,
  AP large     and of others
  mean IoU     of everybody's mask with the annotated one; not with --poses,
               which do not tell who is who
"""

_EXAMPLES = """\
examples:
  pose2seg evaluate person_keypoints_val2017.json val2017 \\
      --weights pose2seg_release.pkl --templates templates.json
  pose2seg evaluate ochuman_coco_format_val_range_0.00_1.00.json images \\
      --weights model.safetensors --poses detections.json --output report

in two processes, one for each GPU where there are any, with the same result:
  torchrun --nproc-per-node 2 --no-python pose2seg evaluate ...

exit codes: 0 done, 2 something to put right, told in one line, 130 interrupted
"""

_TITLES = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "mean IoU")


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="average precision and mean IoU of a model's masks",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_dataset(parser)
    option = parser.add_argument
    option(
        "--poses",
        type=arguments.path,
        metavar="FILE_OR_FOLDER",
        help="predict from these poses, in place of the annotated ones: COCO keypoint results, or another "
        "form that `pose2seg predict` takes",
    )
    arguments.add_joint_threshold(parser)
    option(
        "--output",
        type=arguments.path,
        metavar="FOLDER",
        help="write scores.json, images.csv with a row for each image, masks.json with COCO results, and "
        "pictures of the worst images here; an earlier evaluation there is replaced",
    )
    option(
        "--worst",
        type=arguments.positive,
        default=8,
        metavar="N",
        help="how many pictures (default: %(default)s)",
    )
    arguments.add_model(parser)
    arguments.add_device(parser)
    arguments.add_batch_size(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        device = stack.enter_context(distributed.joined(arguments.find_device(options.device)))
        stack.enter_context(dataset_warnings())
        start = time.perf_counter()
        images = read_dataset(options.annotations, options.images)
        if options.output is not None:
            _prepare_output(options, images)
            stack.enter_context(locked(options.output, "another evaluation is writing there"))
        poses = _read_poses(options, images)
        model = arguments.load_model(options)
        evaluation = evaluate(
            model.to(device), images, poses=poses, batch_size=options.batch_size, progress=True
        )
        if distributed.rank() == 0:
            _print(evaluation, time.perf_counter() - start)  # first: not all reports can be written
            if options.output is not None:
                remove_unfinished(options.output)
                write_report(evaluation, options.output, worst=options.worst)


def _read_poses(options: argparse.Namespace, images: list[PersonImage]) -> Poses | None:
    if options.poses is None:
        if options.joint_threshold is not None:
            raise InputError("--joint-threshold is of the poses of --poses: annotations have no confidences")
        return None
    return match_poses(open_poses(options.poses, options.joint_threshold), images)


def _prepare_output(options: argparse.Namespace, images: list[PersonImage]) -> None:
    """Find out before the work is done what would keep the report from being written."""
    inputs = [options.annotations, options.weights, options.templates, options.poses]
    worst = min(options.worst, len(images))
    require_distinct_files([*inputs, *(image.path for image in images)], report_files(options.output, worst))
    require_writable(options.output, worst)


def _print(evaluation: Evaluation, seconds: float) -> None:
    shown = ["-" if math.isnan(score) else f"{score:.4f}" for score in evaluation.scores.values()]
    print("  ".join(f"{title:>6}" for title in _TITLES))
    print("  ".join(f"{score:>{max(6, len(title))}}" for title, score in zip(_TITLES, shown, strict=True)))
    people = counted(sum(len(row.image.people) for row in evaluation.images), "person", "people")
    images = counted(len(evaluation.images), "image", "images")
    print(f"{people} in {images} in {seconds:.1f} s", file=sys.stderr)
