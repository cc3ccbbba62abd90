"""COCO annotation files and COCO keypoint result files, AlphaPose's among them."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import NoneType

import numpy as np
import numpy.typing as npt

from pose2seg.errors import InputError
from pose2seg.files import finite_number, read_json, shown
from pose2seg.poses.annotations import read_annotated_people, read_image_records, without_crowds
from pose2seg.poses.people import ImagePoses, Person, PoseFile
from pose2seg.records import Record, records
from pose2seg.remarks import Remarks
from pose2seg_ops import COCO_KEYPOINTS


def read_poses(path: Path | str) -> PoseFile:
    """The people of a COCO annotation file or a COCO keypoint result file.

    Annotations belong to the image whose path ends in their "file_name"; those of people with at least one
    labelled joint count, see `read_annotated_people`. Results belong to the image whose name, with or
    without extension or leading zeros, is their "image_id"; detectors do not tell occluded joints, so every
    joint with a third value above 0 is visible. Joints beyond COCO's 17, in results of Halpe or
    COCO-WholeBody models, are left out.

    A record that cannot be used is left out with a DatasetWarning.

    Raises InputError that names the record for a file of another form, or if none can be used; OSError for
    one that cannot be read.
    """
    path = Path(path)
    content = read_json(path)
    if isinstance(content, dict):
        return PoseFile(_read_annotations(Record(content, str(path))), _trailing_paths)
    if isinstance(content, list):
        return PoseFile(_read_results(records(content, str(path))), _identifiers)
    raise InputError(
        f"{path}: expected COCO annotations (an object) or results (a list), got {type(content).__name__}"
    )


def _read_annotations(file: Record) -> dict[str, ImagePoses]:
    remarks = Remarks()
    by_name: dict[str, ImagePoses] = {}
    by_id: dict[str, ImagePoses] = {}
    for key, image in read_image_records(file).items():
        poses = by_id[key] = ImagePoses(image.content["id"], _size(image))
        name = PurePosixPath(image.get("file_name", str)).as_posix()  # without ./
        if by_name.setdefault(name, poses) is not poses:
            raise InputError(f'{image.where}: another image has this "file_name" too, {shown(name)}')
    for person in without_crowds(read_annotated_people(file, remarks, by_id), remarks):
        annotated = Person(person.keypoints, annotation_id=person.annotation_id)
        by_id[person.image].people.append(annotated)
    remarks.tell()
    return by_name


def _size(image: Record) -> tuple[int, int] | None:
    """Height and width; None where they are not known, for which some tools write 0."""
    height, width = (image.get(side, int, NoneType) or 0 for side in ("height", "width"))
    return (height, width) if height > 0 and width > 0 else None


def _read_results(results: Iterator[Record]) -> dict[str, ImagePoses]:
    remarks = Remarks()
    images: dict[str, ImagePoses] = {}

    def read(result: Record) -> Person | None:
        image_id = result.get("image_id", int, str)
        poses = images.setdefault(str(image_id), ImagePoses(image_id))
        person = _read_result(result)
        if person is not None:
            poses.people.append(person)
        return person

    remarks.usable(results, read)
    remarks.tell()
    return images


def _read_result(result: Record) -> Person | None:
    """The person of a result; None where no joint was found."""
    keypoints = _body(result)
    keypoints[:, 2] = np.where(keypoints[:, 2] > 0, 2, 0)
    score = finite_number(result.content.get("score"), f'{result.where}: "score"')
    return Person(keypoints, score) if keypoints[:, 2].any() else None


def _body(record: Record) -> npt.NDArray[np.float32]:
    """The first 17 joints: those of COCO in all these layouts."""
    count = len(record.get("keypoints", list))
    is_known = count in [3 * joints for joints in _LAYOUTS_THAT_BEGIN_AS_COCO]
    expected = count if is_known else 3 * len(COCO_KEYPOINTS)
    return record.joints("keypoints", expected // 3)[: len(COCO_KEYPOINTS)]


# COCO, Halpe's body, COCO-WholeBody, Halpe with face and hands.
_LAYOUTS_THAT_BEGIN_AS_COCO = (17, 26, 133, 136)


def _trailing_paths(image: Path) -> Iterator[str]:
    path = image.absolute().as_posix()
    yield path
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _identifiers(image: Path) -> Iterator[str]:
    yield image.name
    yield image.stem
    if image.stem.isdecimal():
        yield str(int(image.stem))
