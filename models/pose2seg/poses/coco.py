"""COCO annotation files and COCO keypoint result files, AlphaPose's among them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import NoneType

import numpy as np
import numpy.typing as npt

from pose2seg.errors import InputError
from pose2seg.files import finite_number, read_json, shown
from pose2seg.poses.people import ImagePoses, Person, PoseFile
from pose2seg.records import Record, records
from pose2seg_ops import COCO_KEYPOINTS


def read_poses(path: Path | str) -> PoseFile:
    """The people of a COCO annotation file or a COCO keypoint result file.

    Annotations belong to the image whose path ends in their "file_name"; those with iscrowd 0 and at least
    one labelled joint count, see `labelled_keypoints`. Results belong to the image whose name, with or
    without extension or leading zeros, is their "image_id"; detectors do not tell occluded joints, so every
    joint with a third value above 0 is visible. Joints beyond COCO's 17, in results of Halpe or
    COCO-WholeBody models, are left out.

    Raises InputError that names the record for a file of another form, OSError for one that cannot be read.
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
    by_name: dict[str, ImagePoses] = {}
    by_id: dict[int | str, ImagePoses] = {}
    for image in file.list_of_records("images"):
        image_id = image.get("id", int, str)
        size = image.get("height", int, NoneType), image.get("width", int, NoneType)
        poses = ImagePoses(image_id, None if None in size else size)
        for name, key, images in (
            ("id", image_id, by_id),
            ("file_name", PurePosixPath(image.get("file_name", str)).as_posix(), by_name),  # without ./
        ):
            if images.setdefault(key, poses) is not poses:
                raise InputError(f'{image.where}: another image has this "{name}" too, {shown(key)}')
    joints = read_joint_names(file)
    for annotation in file.list_of_records("annotations"):
        image_id = annotation.get("image_id", int, str)
        if image_id not in by_id:
            raise InputError(f'{annotation.where}: no image has the id {image_id!r} that "image_id" names')
        keypoints = labelled_keypoints(annotation, joints)
        if keypoints is not None:
            person = Person(keypoints, annotation_id=annotation.get("id", int, NoneType))
            by_id[image_id].people.append(person)
    return by_name


#: The joints that the people of each category have, by its id.
JointNames = Mapping[int | None, Sequence[str]]


def read_joint_names(file: Record) -> JointNames:
    """The joints that each of a COCO annotation file's "categories" names. Raises InputError for bad ones."""
    if "categories" not in file.content:
        return {}
    return {
        category.get("id", int): category.get("keypoints", list)
        for category in file.list_of_records("categories")
        if "keypoints" in category.content
    }


def labelled_keypoints(annotation: Record, names: JointNames) -> npt.NDArray[np.float32] | None:
    """The pose of a COCO annotation, (17, 3); None for a crowd, or where no joint is labelled.

    names: of the joints of each category, as its file tells (`read_joint_names`); COCO's for others. Joints
        that COCO lacks, as some of CrowdPose's 14, are left out; those that the file lacks are missing.

    Raises InputError if it is of another form.
    """
    if annotation.get("iscrowd", int, bool, NoneType) or not annotation.get("keypoints", list, NoneType):
        return None
    joints = names.get(annotation.get("category_id", int, NoneType), COCO_KEYPOINTS)
    listed = annotation.numbers("keypoints", 3 * len(joints)).reshape(-1, 3)
    if not np.isin(listed[:, 2], (0, 1, 2)).all():
        raise InputError(f'{annotation.where}: visibility in "keypoints" must be 0, 1 or 2')
    keypoints = np.zeros((len(COCO_KEYPOINTS), 3), np.float32)
    for joint, point in zip(joints, listed, strict=True):
        if joint in COCO_KEYPOINTS:
            keypoints[COCO_KEYPOINTS.index(joint)] = point
    return keypoints if keypoints[:, 2].any() else None


def _read_results(results: Iterator[Record]) -> dict[str, ImagePoses]:
    images: dict[str, ImagePoses] = {}
    for result in results:
        image_id = result.get("image_id", int, str)
        keypoints = _body(result)
        keypoints[:, 2] = np.where(keypoints[:, 2] > 0, 2, 0)
        poses = images.setdefault(str(image_id), ImagePoses(image_id))
        score = finite_number(result.content.get("score"), f'{result.where}: "score"')
        if keypoints[:, 2].any():
            poses.people.append(Person(keypoints, score))
    return images


def _body(record: Record) -> npt.NDArray[np.float32]:
    """The first 17 joints: those of COCO in all these layouts."""
    count = len(record.get("keypoints", list))
    is_known = count in [3 * joints for joints in _LAYOUTS_THAT_BEGIN_AS_COCO]
    expected = count if is_known else 3 * len(COCO_KEYPOINTS)
    return record.numbers("keypoints", expected).reshape(-1, 3)[: len(COCO_KEYPOINTS)]


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
