"""Fuzzes the reader of COCO annotations and keypoint results, including those of AlphaPose."""

from pathlib import Path

from fuzzing import check_people, fuzz, mutate_json
from pose2seg.data.poses import read_poses


def read(path: Path) -> None:
    poses = read_poses(path)
    for image in poses.images.values():
        check_people(image.people)
    for name in ("1.jpg", "000000000001.jpg", "image.jpg"):
        poses.find(Path(name))


fuzz(read, "poses.json", mutate_json)
