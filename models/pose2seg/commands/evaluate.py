"""`pose2seg evaluate`: compares the masks of a model with annotated ones."""

import argparse
import math
import sys
import time
from contextlib import ExitStack

from pose2seg.commands.messages import dataset_warnings
from pose2seg.commands.options import find_device, load_for_inference
from pose2seg.common import distributed
from pose2seg.common.errors import InputError
from pose2seg.common.files import remove_unfinished, require_distinct_files
from pose2seg.common.lock import locked
from pose2seg.common.text import counted
from pose2seg.data.dataset import PersonImage, read_dataset
from pose2seg.data.poses import open_poses
from pose2seg.evaluation.evaluate import Evaluation, Poses, evaluate, match_poses
from pose2seg.evaluation.report import report_files, require_writable, write_report

_TITLES = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "mean IoU")


def run(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        device = stack.enter_context(distributed.joined(find_device(options.device)))
        stack.enter_context(dataset_warnings())
        start = time.perf_counter()
        images = read_dataset(options.annotations, options.images)
        if options.output is not None:
            _prepare_output(options, images)
            stack.enter_context(locked(options.output, "another evaluation is writing there"))
        poses = _read_poses(options, images)
        model = load_for_inference(options, device)
        evaluation = evaluate(
            model,
            images,
            poses=poses,
            rank_by=options.rank_by,
            batch_size=options.batch_size,
            progress=not options.quiet,
        )
        if distributed.rank() == 0:
            # Printed before the report, which may not be writable.
            _print(evaluation)
            if not options.quiet:
                _print_summary(evaluation, time.perf_counter() - start, model.precision)
            if options.output is not None:
                remove_unfinished(options.output)
                write_report(evaluation, options.output, worst=options.worst)


def _read_poses(options: argparse.Namespace, images: list[PersonImage]) -> Poses | None:
    if options.poses is None:
        if options.joint_threshold is not None:
            raise InputError("--joint-threshold needs --poses: annotations have no confidences")
        return None
    return match_poses(open_poses(options.poses, options.joint_threshold), images)


def _prepare_output(options: argparse.Namespace, images: list[PersonImage]) -> None:
    """Raises an error before the evaluation if the report could not be written after it."""
    inputs = [options.annotations, options.weights, options.templates, options.poses]
    worst = min(options.worst, len(images))
    require_distinct_files([*inputs, *(image.path for image in images)], report_files(options.output, worst))
    require_writable(options.output, worst)


def _print(evaluation: Evaluation) -> None:
    shown = ["-" if math.isnan(score) else f"{score:.4f}" for score in evaluation.scores.values()]
    print("  ".join(f"{title:>6}" for title in _TITLES))
    print("  ".join(f"{score:>{max(6, len(title))}}" for title, score in zip(_TITLES, shown, strict=True)))


def _print_summary(evaluation: Evaluation, seconds: float, precision: str) -> None:
    people = counted(sum(len(row.image.people) for row in evaluation.images), "person", "people")
    images = counted(len(evaluation.images), "image", "images")
    print(f"{people} in {images} in {seconds:.1f} s, in {precision}", file=sys.stderr)
