"""`pose2seg demo`: makes the mask of a sample image, and times each stage."""

import argparse
import time

from pose2seg.commands.options import find_device, load_model, make_ready
from pose2seg.common.files import require_distinct_files
from pose2seg.common.images import write_png
from pose2seg.data.posed_images import read_posed_image
from pose2seg.prediction.demo import demo_image, time_prediction
from pose2seg.prediction.drawing import draw_overlay


def run(options: argparse.Namespace) -> None:
    device = find_device(options.device)
    start = time.perf_counter()
    sample = demo_image()
    image, poses = read_posed_image(sample)
    read = time.perf_counter()
    require_distinct_files(
        [sample.path, options.weights, options.templates], [(options.output, "the overlay")]
    )
    trained = load_model(options)
    parameters = sum(parameter.numel() for parameter in trained.parameters())  # fused, some are no parameters
    model = make_ready(trained, options, device)
    loaded = time.perf_counter()

    keypoints = poses.keypoints
    time_prediction(model, [image], [keypoints])
    (masks,), stages = time_prediction(model, [image], [keypoints])
    write_png(options.output, draw_overlay(image, masks.cpu().numpy(), keypoints))

    height, width = image.shape[:2]
    _print_time("image", read - start, f"{width} x {height}, {sample.path}")
    _print_time(
        "model",
        loaded - read,
        f"{parameters / 1e6:.1f} million parameters, on {device} in {model.precision}",
    )
    for stage, seconds in stages.items():
        _print_time(stage, seconds)
    print(f"{options.output}: a mask of {int(masks.sum())} pixels")


def _print_time(stage: str, seconds: float, remark: str = "") -> None:
    print(f"{stage:24}{1000 * seconds:8.1f} ms  {remark}".rstrip())
