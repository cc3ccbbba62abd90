"""`pose2seg demo`: a photograph that is at hand, its mask, and the time of each stage."""

import argparse
import time
from pathlib import Path

from pose2seg.commands import arguments
from pose2seg.demo import demo_photograph, time_prediction
from pose2seg.files import require_distinct_files, write_png
from pose2seg.photographs import read_photograph
from pose2seg.visualize import draw_overlay

_DESCRIPTION = """\
Make the mask of the person in a photograph that is at hand, and draw it.

The photograph is among matplotlib's sample data, its pose was annotated by hand.
It needs matplotlib: pip install 'pose2seg_ops[demo]'. What is timed ran once
before, to warm up.
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "demo",
        help="make and draw the mask of a person in a photograph that is at hand",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output",
        type=arguments.path,
        default=Path("pose2seg_demo.png"),
        metavar="FILE",
        help="the picture to write (default: %(default)s)",
    )
    arguments.add_model(parser)
    arguments.add_device(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    device = arguments.find_device(options.device)
    start = time.perf_counter()
    photograph = demo_photograph()
    image, poses = read_photograph(photograph)
    read = time.perf_counter()
    require_distinct_files(
        [photograph.path, options.weights, options.templates], [(options.output, "the picture")]
    )
    model = arguments.load_model(options).to(device)
    loaded = time.perf_counter()

    keypoints = poses.keypoints
    time_prediction(model, [image], [keypoints])
    (masks,), stages = time_prediction(model, [image], [keypoints])
    write_png(options.output, draw_overlay(image, masks.cpu().numpy(), keypoints))

    height, width = image.shape[:2]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    _print_time("photograph", read - start, f"{width} x {height}, {photograph.path}")
    _print_time("model", loaded - read, f"{parameters / 1e6:.1f} million parameters, on {device}")
    for stage, seconds in stages.items():
        _print_time(stage, seconds)
    print(f"{options.output}: a mask of {int(masks.sum())} pixels")


def _print_time(stage: str, seconds: float, remark: str = "") -> None:
    print(f"{stage:24}{1000 * seconds:8.1f} ms  {remark}".rstrip())
