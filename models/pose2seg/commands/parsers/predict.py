"""The arguments of `pose2seg predict`."""

import argparse

from pose2seg.commands.parsers import arguments
from pose2seg.common.choices import MASK_THRESHOLD, POSE_ESTIMATOR_FILES, POSE_ESTIMATORS
from pose2seg.common.text import shown

_DESCRIPTION = """\
Predict the mask of every person with a pose, in images or a video.

The poses come from a pose estimator, or from a file or a folder:
  COCO annotations  {"images": ..., "annotations": ...}
               An image belongs to the "file_name" that its path ends in. Crowds
               and people without a labelled joint are left out. Joints are
               recognised by the names in "categories", in any spelling, and
               people by a category that is called a person. CrowdPose, CVAT,
               Datumaro, FiftyOne and sleap-io write this format.
  OCHuman      its own ochuman.json
  COCO results  [{"image_id": ..., "keypoints": ..., "score": ...}, ...]
               An image belongs to the "image_id" that is its name, with or
               without extension or leading zeros. AlphaPose writes this format;
               of more than 17 joints, the first 17 are used.
  OpenPose     a folder of NAME_keypoints.json, as from --write_json, with
               BODY_25, BODY_25B or COCO joints
  MMPose       a folder of NAME.json (or results_NAME.json), as from pred_out_dir
               of its inferencer; a file of the frames of a video, in which the
               name of an image is the number of its frame; or the results of
               tools/test.py --out of MMPose 0.x
  Ultralytics  a folder of NAME.json with the results of to_json, or of NAME.txt,
               YOLO's labels or predictions of the 17 joints
  rtmlib       a folder of NAME.npz with the arrays keypoints and scores

A joint is missing if its confidence is 0 or below --joint-threshold, or if it
is at (0, 0); others are visible. In annotations, and in files in which all
confidences are 0, 1 or 2, these numbers are COCO's visibility: 0 missing,
1 occluded, 2 visible. If no joint of a file has 2, then 1 is visible.

The masks are written as COCO results, for pycocotools:
  [{"image_id", "category_id", "segmentation", "score", "quality",
    "annotation_id", "track_id"}, ...]
in the order of the images, and of the people in the poses. The score is that of
the pose, 1 for annotations; "quality" is the estimated IoU of the mask;
"annotation_id" and "track_id" are added if the
poses have them. If the poses have no ids of images, "image_id" is the image's
name, as a number if it is one. An existing file is replaced when the command is
done; a pipe or a device, such as /dev/stdout, is written to. An image that
cannot be read is left out, and a warning says which and why.

Finished results are kept in FILE.unfinished, next to the output, until the
command is done. However it was stopped, it continues with --resume.
"""

_EXAMPLES = """\
examples:
  pose2seg predict a.jpg b.jpg --pose-estimator keypoint-rcnn \\
      --output masks.json --report masks.html
  pose2seg predict folder --pose-estimator yolo11n-pose.onnx --output masks.json
  pose2seg predict val2017 --poses person_keypoints_val2017.json \\
      --weights pose2seg_release.pkl --templates modeling/templates.json \\
      --output masks.json
  pose2seg predict clip.mp4 --poses poses.json --output masks.json \\
      --video drawn.mp4
  pose2seg predict images --poses poses.json --cutouts people --soft-edges
  pose2seg predict frames --poses openpose --weights model.safetensors \\
      --output masks.json --device cuda:1

in two processes, one for each GPU if there are GPUs, with the same result:
  torchrun --nproc-per-node 2 --no-python pose2seg predict ...

exit codes: 0 done, 2 an error that you can fix, in one line, 3 done, but some
images were left out, 130 interrupted
"""


def add_to(commands: arguments.Commands) -> None:
    parser = commands.add_parser(
        "predict",
        help="predict masks from images or a video, and poses",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=arguments.path,
        metavar="IMAGE_OR_FOLDER",
        help="images, or folders of them; images in a folder that the poses do not list are skipped. Or one "
        "video, which needs PyAV: pip install 'pose2seg_ops[video]'",
    )
    poses = parser.add_argument_group("poses, one of").add_mutually_exclusive_group()
    poses.add_argument(
        "--poses",
        type=arguments.path,
        metavar="FILE_OR_FOLDER",
        help="a file or a folder in one of the formats above",
    )
    poses.add_argument(
        "--pose-estimator",
        type=_pose_estimator,
        metavar="NAME_OR_FILE",
        help="find the poses in the images: keypoint-rcnn (pip install 'pose2seg_ops[estimators]'), rtmo or "
        "rtmpose ([rtmlib]), a YOLO-pose or RTMO network in FILE.onnx ([onnx]), or FILE.pt ([ultralytics], "
        "which is AGPL-3.0). If weights are downloaded, a line says from where",
    )
    arguments.add_joint_threshold(parser)
    option = parser.add_argument
    option(
        "--output",
        type=arguments.file,
        metavar="FILE",
        help="COCO results to write, - for the standard output (default: NAME_masks.json in the current "
        "folder, where NAME is the first image, folder or video)",
    )
    option(
        "--overlays",
        type=arguments.path,
        metavar="FOLDER",
        help="also write the overlay of each image here: NAME.png",
    )
    option(
        "--masks",
        type=arguments.path,
        metavar="FOLDER",
        help="also write the mask of each person here, 255 inside and 0 outside: NAME_1.png, NAME_2.png, ...",
    )
    option(
        "--indexed-masks",
        type=arguments.path,
        metavar="FOLDER",
        help="also write all masks of each image here as one PNG with a palette, 0 for the background and k "
        "for person k: NAME.png",
    )
    option(
        "--cutouts",
        type=arguments.path,
        metavar="FOLDER",
        help="also write each person cut out of the image here, RGBA and cropped: NAME_1.png, "
        "NAME_2.png, ...",
    )
    option(
        "--soft-edges",
        action="store_true",
        help="use the probability of each pixel as the opacity of the cut-outs, instead of 0 or 1",
    )
    option(
        "--polygons",
        type=arguments.file,
        metavar="FILE",
        help="also write COCO annotations here whose masks are polygons; a hole is joined to the outline by "
        "a cut of zero width, and people without a pixel are left out",
    )
    option(
        "--yolo",
        type=arguments.path,
        metavar="FOLDER",
        help="also write labels for YOLO segmentation here, with a polygon for each person: NAME.txt",
    )
    option(
        "--report",
        type=arguments.file,
        metavar="PAGE",
        help="also write an HTML page here, PAGE.html, with images, masks that can be hidden, skeletons, "
        "scores and times",
    )
    option(
        "--video",
        type=arguments.file,
        metavar="FILE",
        help="also write the video with masks and skeletons here, as an MP4 without sound",
    )
    option(
        "--frames",
        type=arguments.frames,
        metavar="FIRST-LAST",
        help="predict only these frames of the video, counted from 0 (default: all)",
    )
    arguments.add_model(parser)
    arguments.add_device(parser)
    arguments.add_precision(parser)
    arguments.add_flip(parser)
    arguments.add_batch_size(parser)
    option(
        "--threshold",
        type=arguments.probability,
        default=MASK_THRESHOLD,
        metavar="P",
        help="the probability above which a pixel belongs to the person (default: %(default)s)",
    )
    option(
        "--resume",
        action="store_true",
        help="continue a prediction that was stopped; its poses, weights and images must be unchanged",
    )
    arguments.add_quiet(parser)


def _pose_estimator(text: str) -> str:
    """Parses an argument that is the name or the file of a pose estimator."""
    if text not in POSE_ESTIMATORS and arguments.path(text).suffix not in POSE_ESTIMATOR_FILES:
        names, endings = ", ".join(POSE_ESTIMATORS), " or ".join(POSE_ESTIMATOR_FILES)
        raise argparse.ArgumentTypeError(f"must be {names}, or a file ending in {endings}, got {shown(text)}")
    return text
