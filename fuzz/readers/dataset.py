"""Fuzzes the reader of dataset annotations and their masks, for images of up to 40,000 pixels."""

from pathlib import Path

from fuzzing import check_people, fuzz, mutate_json
from pose2seg.data.dataset import read_dataset
from pose2seg.data.poses import Person


def read(path: Path) -> None:
    path.with_name("1.jpg").touch()
    for image in read_dataset(path, path.parent):
        check_people(Person(person.keypoints, person.area) for person in image.people)
        if image.size[0] * image.size[1] <= 40_000:
            assert image.masks.any(axis=(1, 2)).all(), "a mask without pixels"


fuzz(read, "annotations.json", mutate_json)
