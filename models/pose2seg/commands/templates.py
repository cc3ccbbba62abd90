"""`pose2seg templates`: makes pose templates from the poses of many people."""

import argparse
import sys
import time

from pose2seg.commands.messages import dataset_warnings
from pose2seg.common.files import require_distinct_files, require_no_folder
from pose2seg.common.images import write_png
from pose2seg.network.templates import save_templates
from pose2seg.prediction.drawing import draw_templates
from pose2seg.training.cluster import cluster_poses, read_annotated_people


def run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    written = [(options.output, "the templates")]
    if options.picture is not None:
        written.append((options.picture, "the drawing"))
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
    used = f"{sizes.sum() // 2} of {len(keypoints)} people"  # each pose is also mirrored
    summary = f"{options.output}: {len(means)} templates from {used} in {seconds:.1f} s"
    print(summary, file=sys.stderr)  # stdout may be the output
