"""Measures how fast `pose2seg predict` is on a video, and how well a pose estimator overlaps with the masks.

    python tools/video_speed.py ANNOTATIONS FOLDER [--frames N] [--rounds N]

Writes the same frames as a video and as JPEG files, and predicts both in turns, from the annotated poses.
Then predicts the video with a pose estimator that takes as long for a frame as the masks do: on another
device, for which it only waits, and on one core of this processor, on which it computes. Prints the medians
over the rounds, in milliseconds per frame.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pose2seg import Pose2Seg, load_model
from pose2seg.data.dataset import PersonImage, read_dataset
from pose2seg.data.posed_images import PosedImage, find_images
from pose2seg.data.poses import Person, PoseSource, open_poses
from pose2seg.data.poses.estimators import EstimatedPoses
from pose2seg.data.video import VideoFile, VideoWriter
from pose2seg.data.video_frames import find_frames
from pose2seg.network.inference import fastest_precision, for_inference
from pose2seg.prediction.predict import predict_to_file

_SIZE = (640, 480)
_BATCH = 4


def write_frames(images: list[PersonImage], count: int, folder: Path) -> tuple[Path, Path, Path]:
    """Writes frames of 640 x 480 pixels. Returns the video, the folder of JPEG files and their poses."""
    video, files, poses = folder / "clip.mp4", folder / "frames", folder / "poses.json"
    files.mkdir()
    records: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
    with video.open("wb") as file:
        writer = VideoWriter(file, Fraction(1, 30))
        for number in range(count):
            image = images[number % len(images)]
            scale = np.divide(_SIZE, image.size[::-1])
            pixels = cv2.resize(image.read(), _SIZE)
            name = f"{number:06}.jpg"
            cv2.imwrite(str(files / name), pixels)
            writer.add(pixels.astype(np.uint8), number)
            records["images"].append({"id": number, "file_name": name})
            for person in image.people:
                joints = person.keypoints * np.array([*scale, 1])
                record = {"id": len(records["annotations"]), "image_id": number, "iscrowd": 0}
                records["annotations"].append({**record, "keypoints": joints.ravel().tolist()})
        writer.finish()
    poses.write_text(json.dumps(records))
    return video, files, poses


class SlowEstimator:
    """Finds the annotated poses of the frames in turn, after some time."""

    def __init__(self, found: list[list[Person]], seconds: float, computes: bool) -> None:
        self._found, self._seconds, self._computes, self._calls = found, seconds, computes, 0

    def __call__(self, image: npt.NDArray[np.uint8], /) -> list[Person]:
        if self._computes:
            end = time.thread_time() + self._seconds
            while time.thread_time() < end:
                cv2.GaussianBlur(image, (0, 0), 3)  # does not hold the lock of the interpreter
        else:
            time.sleep(self._seconds)
        self._calls += 1
        return self._found[(self._calls - 1) % len(self._found)]


def seconds_per_frame(model: Pose2Seg, images: list[PosedImage], folder: Path) -> float:
    start = time.perf_counter()
    predict_to_file(model, images, folder / "masks.json", batch_size=_BATCH, progress=False)
    return (time.perf_counter() - start) / len(images)


def in_turns(rounds: int, **measured: Callable[[], float]) -> dict[str, float]:
    """Returns the median of each."""
    times: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, measure in measured.items():
            times[name].append(measure())
    return {name: statistics.median(of_name) for name, of_name in times.items()}


def print_times(title: str, seconds: dict[str, float], ratio: str) -> None:
    shown = ", ".join(f"{name.replace('_', ' ')} {1000 * each:.1f}" for name, each in seconds.items())
    print(f"{title}: {shown} ms a frame; {ratio}")


def measure(images: list[PersonImage], count: int, rounds: int, folder: Path) -> None:
    video_path, files, poses_path = write_frames(images, count, folder)
    model = for_inference(load_model(), fastest_precision(torch.device("cpu")))
    poses: PoseSource = open_poses(poses_path)
    jpegs, _ = find_images([files], poses)

    def of_video(source: PoseSource) -> float:
        return seconds_per_frame(model, find_frames(VideoFile(video_path), source), folder)

    def of_files() -> float:
        return seconds_per_frame(model, jpegs, folder)

    of_files()  # warms up
    given = in_turns(rounds, video=lambda: of_video(poses), images=of_files)
    print_times("poses given", given, f"video at {given['images'] / given['video']:.2f} of the images' rate")

    found = [[Person(person.keypoints) for person in image.people] for image in images[:count]]
    for title, computes in (("estimator on another device", False), ("estimator on one core", True)):
        estimator = SlowEstimator(found, given["video"], computes)
        pixels = np.zeros((*_SIZE[::-1], 3), np.uint8)

        def alone(estimator: SlowEstimator = estimator, pixels: npt.NDArray[np.uint8] = pixels) -> float:
            start = time.perf_counter()
            for _ in range(count):
                estimator(pixels)
            return (time.perf_counter() - start) / count

        def both(estimator: SlowEstimator = estimator) -> float:
            return of_video(EstimatedPoses(estimator))

        times = in_turns(rounds, masks_alone=lambda: of_video(poses), estimator_alone=alone, both=both)
        slower = max(times["masks_alone"], times["estimator_alone"])
        print_times(title, times, f"both take {times['both'] / slower:.2f} of the slower alone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("annotations", type=Path, help="COCO annotations with masks")
    parser.add_argument("images", type=Path, help="the folder of their images")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = read_dataset(options.annotations, options.images)
        measure(images, options.frames, options.rounds, Path(folder))


if __name__ == "__main__":
    main()
