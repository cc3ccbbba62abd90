"""OpenPose's file for an image."""

from pathlib import Path

from fuzzing import check_people, fuzz, mutate_json
from pose2seg.poses.openpose import read_people


def read(path: Path) -> None:
    check_people(read_people(path))


fuzz(read, "photograph_keypoints.json", mutate_json)
