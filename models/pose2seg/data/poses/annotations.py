"""Reads people from COCO annotation files, by the same rules for every command."""

from collections.abc import Container, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pose2seg.common.errors import InputError
from pose2seg.common.records import Record
from pose2seg.common.remarks import Remarks
from pose2seg.common.text import shown
from pose2seg.data.poses import ochuman
from pose2seg.data.poses.categories import Categories, read_categories
from pose2seg.data.poses.joints import from_flags
from pose2seg_ops import COCO_KEYPOINTS


class AnnotatedPerson(NamedTuple):
    """A person with a labelled joint.

    annotation: the record.
    annotation_id: the "id" of the record, or None.
    image: the id of its image as text, a key of `read_image_records`; empty if images are not needed.
    keypoints: (17, 3) float32 x, y in pixels, and COCO visibility: 0 missing, 1 occluded, 2 visible.
    is_crowd: whether "iscrowd" is set, see `without_crowds`.
    """

    annotation: Record
    annotation_id: int | str | None
    image: str
    keypoints: npt.NDArray[np.float32]
    is_crowd: bool


def annotation_file(path: Path, content: Any) -> Record:
    """Returns the content of a JSON file as COCO annotations; OCHuman's own format is converted.

    Raises InputError if the content is not an object.
    """
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected COCO annotations (an object), got {shown(content)}")
    return Record(ochuman.as_coco(path, content) if ochuman.is_ochuman(content) else content, str(path))


def read_image_records(file: Record) -> dict[str, Record]:
    """Returns the "images" of a file by their ids, as text.

    Some tools write an id as 7 in one place and as "7" in another. A repeated record is used once. Raises
    InputError if two different records have the same id.
    """
    images: dict[str, Record] = {}
    for image in file.list_of_records("images"):
        image_id = image.get("id", int, str)
        if images.setdefault(str(image_id), image).content != image.content:
            raise InputError(f'{image.where}: another image has this "id" too, {shown(image_id)}')
    return images


def read_annotated_people(
    file: Record, remarks: Remarks, images: Container[str] | None = None
) -> list[AnnotatedPerson]:
    """Returns the people of a COCO annotation file with a labelled joint, including those marked "iscrowd".

    images: the ids of the existing images, as text; None if they are not needed.

    An annotation is left out with a remark if it cannot be used, if it is not of a person (see
    `read_categories`), or if its image is not in `images`.

    Raises InputError if the file is malformed, or if it has people but none can be used.
    """
    categories = read_categories(file, remarks)
    annotations = file.list_of_records("annotations")
    people = remarks.usable(annotations, lambda annotation: _read_person(annotation, categories, images))
    _read_visibility(file, people, remarks)
    return people


def without_crowds(people: Sequence[AnnotatedPerson], remarks: Remarks) -> list[AnnotatedPerson]:
    """Returns the people who are not marked "iscrowd" or, if all are, all of them.

    Some tools set "iscrowd" for every mask that is stored as run lengths.
    """
    crowds = [person for person in people if person.is_crowd]
    others = [person for person in people if not person.is_crowd]
    for person in crowds:
        if others:
            remark = f'{person.annotation.named} is left out: it has joints, but is marked "iscrowd"'
        else:
            remark = f'{person.annotation.named}: is used as a person, because everybody is marked "iscrowd"'
        remarks.add(remark, "crowd")
    return others or crowds


def _read_person(
    annotation: Record, categories: Categories, images: Container[str] | None
) -> AnnotatedPerson | None:
    keypoints = labelled_keypoints(annotation, categories)
    if keypoints is None:
        return None
    image_id = str(annotation.get("image_id", int, str)) if images is not None else ""
    if images is not None and image_id not in images:
        given = shown(annotation.content["image_id"])
        raise InputError(f'{annotation.where}: "image_id" must be the id of an image, got {given}')
    annotation_id = annotation.get("id", int, str, NoneType)
    is_crowd = bool(annotation.get("iscrowd", int, bool, NoneType))
    return AnnotatedPerson(annotation, annotation_id, image_id, keypoints, is_crowd)


def _read_visibility(file: Record, people: Sequence[AnnotatedPerson], remarks: Remarks) -> None:
    """Makes joints with visibility 1 visible, in place, if no joint of the file has 2.

    Such files, for example CrowdPose's, do not distinguish occluded joints. This is decided for the whole
    file, because some people in COCO have only occluded joints.
    """
    listed = [annotation.get("keypoints") for annotation in file.content["annotations"]]
    thirds = [third for keypoints in listed if isinstance(keypoints, list) for third in keypoints[2::3]]
    if 1 in thirds and 2 not in thirds:
        remark = f"{file.where}: no joint has visibility 2; 1 is read as visible, not as occluded"
        remarks.add(remark, "visibility")
        for person in people:
            person.keypoints[person.keypoints[:, 2] == 1, 2] = 2


def labelled_keypoints(annotation: Record, categories: Categories) -> npt.NDArray[np.float32] | None:
    """Returns the pose of a COCO annotation, (17, 3), or None if no joint is labelled.

    Joints that COCO lacks, such as some of CrowdPose's 14, are left out. Joints that the file lacks, and
    joints at (0, 0), are missing.

    Raises InputError if the annotation is malformed or is not of a person.
    """
    if not any(annotation.get("keypoints", list, NoneType) or ()):
        return None
    joints = categories.joints_of(annotation)
    listed = annotation.joints("keypoints", len(joints))
    for joint, (_, _, visibility) in zip(joints, listed, strict=True):
        if visibility not in (0, 1, 2):
            raise InputError(
                f'{annotation.where}: visibility in "keypoints" must be 0, 1 or 2, '
                f"got {visibility:g} of {joint or 'a joint'}"
            )
    keypoints = np.zeros((len(COCO_KEYPOINTS), 3), np.float32)
    for joint, point in zip(joints, listed, strict=True):
        if joint is not None:
            keypoints[COCO_KEYPOINTS.index(joint)] = point
    keypoints = from_flags(keypoints)
    return keypoints if keypoints[:, 2].any() else None
