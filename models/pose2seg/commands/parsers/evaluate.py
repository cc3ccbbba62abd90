"""The arguments of `pose2seg evaluate`."""

import argparse

from pose2seg.commands.parsers import arguments

_DESCRIPTION = """\
Evaluate the masks of a model by COCO's average precision and by their mean IoU,
as Pose2Seg is evaluated on COCOPersons and OCHuman: only people with a pose and
a mask are evaluated. Other people and crowds are not even ignored regions.

The annotations are in COCO's format, such as
  COCOPersons  person_keypoints_val2017.json, or its _pose2seg subset
  OCHuman      ochuman_coco_format_val_range_0.00_1.00.json, or _test_; or its
               own ochuman.json, which contains both. For the latter, the areas
               of small and large people are those of the boxes.
Masks may be polygons or run lengths, compressed or not. An image or a person
that cannot be used is left out, and a warning says which and why.

The results:
  AP           average precision, mean over the IoU thresholds .50, .55 ... .95
  AP50, AP75   average precision at one threshold
  AP small     for people with an annotated area of up to 32^2 pixels
  AP medium    for people with an area of up to 96^2 pixels
  AP large     for larger people
  mean IoU     of all people's masks with the annotated ones; undefined with
               --poses, whose people are not matched with the annotated ones
"""

_EXAMPLES = """\
examples:
  pose2seg evaluate person_keypoints_val2017.json val2017 \\
      --weights pose2seg_release.pkl --templates templates.json
  pose2seg evaluate ochuman_coco_format_val_range_0.00_1.00.json images \\
      --weights model.safetensors --poses detections.json --output report

in two processes, one for each GPU if there are GPUs, with the same result:
  torchrun --nproc-per-node 2 --no-python pose2seg evaluate ...

exit codes: 0 done, 2 an error that you can fix, in one line, 130 interrupted
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compute the average precision and mean IoU of a model's masks",
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
        help="predict from these poses instead of the annotated ones: COCO keypoint results, or another "
        "format of `pose2seg predict`",
    )
    arguments.add_joint_threshold(parser)
    option(
        "--rank-by",
        choices=("pose", "quality"),
        default="pose",
        help="for average precision, rank the masks by the scores of their poses, which are 1 for annotated "
        "poses, or by these scores times the estimated qualities of the masks (default: %(default)s, as in "
        "the protocol of Pose2Seg)",
    )
    option(
        "--output",
        type=arguments.path,
        metavar="FOLDER",
        help="write scores.json, images.csv with a row for each image, masks.json with COCO results, and "
        "overlays of the worst images here; an earlier evaluation is replaced",
    )
    option(
        "--worst",
        type=arguments.positive,
        default=8,
        metavar="N",
        help="the number of overlays (default: %(default)s)",
    )
    arguments.add_model(parser)
    arguments.add_device(parser)
    arguments.add_precision(parser)
    arguments.add_flip(parser)
    arguments.add_batch_size(parser)
    arguments.add_quiet(parser)
