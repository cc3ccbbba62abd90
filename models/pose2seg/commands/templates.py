"""`pose2seg templates`: the poses of many people in, pose templates out."""

import argparse
import sys
import time

from pose2seg.cluster import cluster_poses, read_annotated_people
from pose2seg.commands import arguments
from pose2seg.commands.messages import dataset_warnings
from pose2seg.files import require_distinct_files, require_no_folder, write_png
from pose2seg.templates import save_templates
from pose2seg.visualize import draw_templates

_DESCRIPTION = """\
Make pose templates: the clusters that K-means finds in the poses of many people.

Each person's box is moved and scaled, proportions kept, into the unit square;
missing joints go to its centre; every pose counts a second time mirrored. The
templates are written in the JSON format of the original Pose2Seg, the largest
cluster first. It needs scikit-learn: pip install 'pose2seg_ops[train]'
"""

_EXAMPLES = """\
the templates that come with this package are those of
  pose2seg templates person_keypoints_train2017.json \\
      person_keypoints_val2017.json --output templates.json
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "templates",
        help="the poses of many people in, pose templates out",
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
    option("--output", required=True, type=arguments.path, metavar="FILE", help="JSON file to write")
    option("--picture", type=arguments.path, metavar="FILE", help="also draw the templates: a PNG file")
    option(
        "--count",
        type=arguments.positive,
        default=3,
        metavar="K",
        help="how many templates (default: %(default)s)",
    )
    option(
        "--minimum-joints",
        type=arguments.positive,
        default=9,
        metavar="N",
        help="people with fewer labelled joints, visible or occluded, are left out (default: %(default)s, "
        "as more than 8 are wanted in the paper; the code of the original takes 8 too)",
    )
    option(
        "--seed",
        type=arguments.seed,
        default=0,
        metavar="N",
        help="of the starts of K-means; the same seed gives the same templates (default: %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    written = [(options.output, "the templates")]
    if options.picture is not None:
        written.append((options.picture, "the picture"))
    for path, _ in written:
        require_no_folder(path)
    require_distinct_files(options.annotations, written)
    with dataset_warnings():
        keypoints, boxes = read_annotated_people(options.annotations)
    means, sizes = cluster_poses(
        keypoints, boxes, options.count, minimum_joints=options.minimum_joints, seed=options.seed
    )
    save_templates(means, options.output, minimum_joints=options.minimum_joints)
    if options.picture is not None:
        write_png(options.picture, draw_templates(means, [f"{share:.0%}" for share in sizes / sizes.sum()]))
    seconds = time.perf_counter() - start
    used = f"{sizes.sum() // 2} of {len(keypoints)} people"  # each mirrored too
    summary = f"{options.output}: {len(means)} templates from {used} in {seconds:.1f} s"
    print(summary, file=sys.stderr)  # stdout may be the output
