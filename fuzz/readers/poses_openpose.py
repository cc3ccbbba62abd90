"""Fuzzes the reader of an OpenPose file."""

from pathlib import Path

from fuzzing import check_people, fuzz, mutate_json
from pose2seg.data.poses.openpose import read_people


def read(path: Path) -> None:
    check_people(read_people(path))


fuzz(read, "image_keypoints.json", mutate_json)
