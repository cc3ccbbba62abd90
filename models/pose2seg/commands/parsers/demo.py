"""The arguments of `pose2seg demo`."""

import argparse
from pathlib import Path

from pose2seg.commands.parsers import arguments

_DESCRIPTION = """\
Make the mask of the person in a sample image, and write an overlay.

The image is from matplotlib's sample data, and its pose was annotated by hand.
This needs matplotlib: pip install 'pose2seg_ops[demo]'. The times are those of
a second run, after a warm-up.
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "demo",
        help="make and draw the mask of a person in a sample image",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output",
        type=arguments.path,
        default=Path("pose2seg_demo.png"),
        metavar="FILE",
        help="the overlay to write (default: %(default)s)",
    )
    arguments.add_model(parser)
    arguments.add_device(parser)
    arguments.add_precision(parser)
