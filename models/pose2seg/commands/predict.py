"""`pose2seg predict`: predicts masks from images or a video, and poses."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import torch

from pose2seg.commands.messages import dataset_warnings
from pose2seg.commands.options import find_device, load_for_inference
from pose2seg.common import distributed
from pose2seg.common.choices import POSE_ESTIMATOR_FILES
from pose2seg.common.errors import InputError
from pose2seg.common.files import real_path
from pose2seg.common.text import counted, shown
from pose2seg.data.posed_images import PosedImage, find_images, require_inputs
from pose2seg.data.poses import PoseFile, PoseFolder, PoseSource, open_poses
from pose2seg.data.poses.estimators import open_estimator
from pose2seg.data.video import VideoFile, is_video
from pose2seg.data.video_frames import find_frames
from pose2seg.prediction.journal import journal_folder
from pose2seg.prediction.outputs import (
    CollectedFile,
    Cutouts,
    ImageFiles,
    IndexedMasks,
    Overlays,
    PersonMasks,
    Polygons,
    Report,
    Video,
    YoloLabels,
)
from pose2seg.prediction.predict import Prediction, predict_to_file
from pose2seg.prediction.settings import ESTIMATOR_WEIGHTS

SOME_LEFT_OUT = 3  # the exit code


def run(options: argparse.Namespace) -> int:
    if options.output is None:
        options.output = _default_output(options.inputs)
    with distributed.joined(find_device(options.device)) as device, dataset_warnings():
        try:
            return _predict(options, device)
        except KeyboardInterrupt:
            folder = journal_folder(options.output)
            if distributed.rank() == 0 and folder.exists():
                done = f"the finished results are in {folder}; run the same command with --resume to continue"
                print(f"pose2seg: interrupted: {done}", file=sys.stderr)
            raise


def _predict(options: argparse.Namespace, device: torch.device) -> int:
    start = time.perf_counter()
    require_inputs(options.inputs)
    if options.poses is None and options.pose_estimator is None:
        raise InputError(
            "give the poses of the people with --poses FILE_OR_FOLDER, or find them with --pose-estimator "
            "rtmo (pip install 'pose2seg_ops[rtmlib]')"
        )
    video = _open_video(options)
    outputs = _outputs(options, video)
    _require_own_folders(outputs, options.inputs)
    poses: PoseSource
    if options.pose_estimator is not None:
        poses = open_estimator(options.pose_estimator, device, options.joint_threshold)
    else:
        poses = open_poses(options.poses, options.joint_threshold)
    model = load_for_inference(options, device)
    images, unknown = _find(options, video, poses)
    ready = time.perf_counter()
    prediction = predict_to_file(
        model,
        images,
        options.output,
        beside=outputs,
        batch_size=options.batch_size,
        threshold=options.threshold,
        inputs={
            "poses": options.poses,
            ESTIMATOR_WEIGHTS: _estimator_file(options.pose_estimator),
            "weights": options.weights,
            "templates": options.templates,
        },
        resume=options.resume,
        progress=not options.quiet,
    )
    if distributed.rank() == 0 and not options.quiet:
        end = time.perf_counter()
        rate = (prediction.images - prediction.done_before) / (end - ready)
        skipped = f"; {len(unknown)} skipped that {options.poses} does not list" if unknown else ""
        skipped += _tell_absent(poses, images, options.inputs)
        summary = _summarise(prediction, rate, end - start, model.precision)
        print(f"{options.output}: {summary}{skipped}", file=sys.stderr)  # stdout may be the output
    return SOME_LEFT_OUT if prediction.left_out else 0


def _default_output(inputs: Sequence[Path]) -> Path:
    """Returns the default of --output. Raises InputError if the file already exists."""
    first = real_path(inputs[0])
    output = Path(f"{first.name if first.is_dir() else first.stem}_masks.json")
    if os.path.lexists(output):
        raise InputError(f"{output}: exists; --output {output} replaces it")
    return output


def _open_video(options: argparse.Namespace) -> VideoFile | None:
    """Returns the video, if the input is one. Raises InputError for options that need a video."""
    videos = [path for path in options.inputs if is_video(path)]
    if videos and len(options.inputs) > 1:
        raise InputError(f"{videos[0]}: a video must be the only input, got {len(options.inputs)} inputs")
    for name in ("video", "frames"):
        if not videos and getattr(options, name) is not None:
            raise InputError(f"--{name} needs a video, got {options.inputs[0]}")
    return VideoFile(videos[0]) if videos else None


def _find(
    options: argparse.Namespace, video: VideoFile | None, poses: PoseSource
) -> tuple[list[PosedImage], list[Path]]:
    """Returns the images with poses, and the paths of the images without poses."""
    if video is None:
        return find_images(options.inputs, poses)
    return find_frames(video, poses, options.frames), []


def _outputs(options: argparse.Namespace, video: VideoFile | None) -> list[ImageFiles | CollectedFile]:
    """Returns the outputs that the options request besides the results."""
    if options.soft_edges and options.cutouts is None:
        raise InputError("--soft-edges needs --cutouts FOLDER")
    kinds: dict[str, Callable[[Path], ImageFiles | CollectedFile]] = {
        Overlays.option: Overlays,
        PersonMasks.option: PersonMasks,
        IndexedMasks.option: IndexedMasks,
        Cutouts.option: partial(Cutouts, soft_edges=options.soft_edges),
        YoloLabels.option: YoloLabels,
        Polygons.option: Polygons,
        Report.option: Report,
    }
    if video is not None:
        kinds[Video.option] = partial(Video, video=video)
    paths = {name: getattr(options, name) for name in kinds}
    return [kinds[name](path) for name, path in paths.items() if path is not None]


def _require_own_folders(outputs: Iterable[ImageFiles | CollectedFile], inputs: Sequence[Path]) -> None:
    """Raises InputError if files would be written to an input folder, where they would be the next inputs."""
    for each in outputs:
        if isinstance(each, ImageFiles) and real_path(each.folder) in map(real_path, inputs):
            problem = f"is the folder of the images, but {each.names[1]} need a folder of their own"
            raise InputError(f"{each.folder}: {problem}")


def _estimator_file(name: str | None) -> Path | None:
    """Returns the file of --pose-estimator, or None if it is a name."""
    return Path(name) if name is not None and Path(name).suffix in POSE_ESTIMATOR_FILES else None


def _tell_absent(poses: PoseSource, images: Sequence[PosedImage], inputs: Sequence[Path]) -> str:
    """Returns, for the summary, how many images of the poses were not found, if all inputs are folders."""
    if not all(path.is_dir() for path in inputs):
        return ""
    if isinstance(poses, PoseFolder):
        left = poses.without_image(image.path for image in images)
        files = counted(len(left), "file of poses", "files of poses")
        return f"; {files} without an image, such as {shown(left[0])}" if left else ""
    if not isinstance(poses, PoseFile):
        return ""
    listed = {each.image_id for each in poses.images.values()}
    absent = len(listed) - len(images)
    return f"; {counted(absent, 'image', 'images')} of the poses not found" if absent else ""


def _summarise(prediction: Prediction, rate: float, seconds: float, precision: str) -> str:
    masks, images, left_out, done_before, empty = prediction
    before = f"; {counted(done_before, 'image was', 'images were')} done before" if done_before else ""
    unreadable = counted(left_out, "unreadable image", "unreadable images")
    without = f"; {unreadable} left out" if left_out else ""
    without_pixels = f", {empty} of them empty," if empty else ""
    made = f"{counted(masks, 'mask', 'masks')}{without_pixels} from {counted(images, 'image', 'images')}"
    return f"{made} in {seconds:.1f} s, {rate:.1f} images/s in {precision}{before}{without}"
