"""The arguments of `pose2seg templates`."""

import argparse

from pose2seg.commands.parsers import arguments

_DESCRIPTION = """\
Make pose templates: the clusters that K-means finds in the poses of many people.

Each person's box is moved and scaled into the unit square, with its aspect ratio
kept; missing joints are set to its centre, and every pose is also mirrored. The
templates are written in the JSON format of the original Pose2Seg, the largest
cluster first. This needs scikit-learn: pip install 'pose2seg_ops[train]'
"""

_EXAMPLES = """\
this command makes the templates that come with this package:
  pose2seg templates person_keypoints_train2017.json \\
      person_keypoints_val2017.json --output templates.json
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "templates",
        help="make pose templates from the poses of many people",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option(
        "annotations",
        nargs="+",
        type=arguments.path,
        metavar="ANNOTATIONS",
        help='COCO annotations with "keypoints" and "bbox"; crowds are left out',
    )
    option("--output", required=True, type=arguments.file, metavar="FILE", help="the JSON file to write")
    option("--picture", type=arguments.path, metavar="FILE", help="also draw the templates in this PNG file")
    option(
        "--count",
        type=arguments.positive,
        default=3,
        metavar="K",
        help="the number of templates (default: %(default)s)",
    )
    option(
        "--minimum-joints",
        type=arguments.positive,
        default=9,
        metavar="N",
        help="leave out people with fewer labelled joints, visible or occluded (default: %(default)s: the "
        "paper requires more than 8, although the original's code accepts 8)",
    )
    option(
        "--seed",
        type=arguments.seed,
        default=0,
        metavar="N",
        help="the seed of K-means; the same seed gives the same templates (default: %(default)s)",
    )
