"""The people in COCO annotation files: the rules that hold whatever they are read for."""

from collections.abc import Container, Sequence
from types import NoneType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pose2seg.errors import InputError
from pose2seg.files import shown
from pose2seg.poses.categories import Categories, read_categories
from pose2seg.poses.joints import from_flags
from pose2seg.records import Record
from pose2seg.remarks import Remarks
from pose2seg_ops import COCO_KEYPOINTS


class AnnotatedPerson(NamedTuple):
    """A person with a labelled joint.

    annotation: the record; annotation_id: its "id", None where it has none; image: the id of its image as
        text, by which `read_image_records` has it; empty where images do not matter.
    keypoints: (17, 3) float32 x, y in pixels, and COCO visibility: 0 missing, 1 occluded, 2 visible.
    is_crowd: whether "iscrowd" marks it, see `without_crowds`.
    """

    annotation: Record
    annotation_id: int | str | None
    image: str
    keypoints: npt.NDArray[np.float32]
    is_crowd: bool


def read_image_records(file: Record) -> dict[str, Record]:
    """The "images" of a file by their ids, as text: some tools write 7 in one place and "7" in another.

    An equal record of the same image is taken once. Raises InputError for two of one id that differ.
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
    """The people of a COCO annotation file who have a labelled joint, those marked "iscrowd" among them.

    images: the ids of the images there are, as text; None if these do not matter.

    An annotation that cannot be used, that is not of a person (see `read_categories`) or not of one of
    `images`, is left out with a remark.

    Raises InputError for a file of another form, and if there are people but none can be used.
    """
    categories = read_categories(file, remarks)
    annotations = file.list_of_records("annotations")
    people = remarks.usable(annotations, lambda annotation: _read_person(annotation, categories, images))
    _read_visibility(file, people, remarks)
    return people


def without_crowds(people: Sequence[AnnotatedPerson], remarks: Remarks) -> list[AnnotatedPerson]:
    """The people who are not marked "iscrowd". Where all are, they count: some tools mark every mask so that
    is stored as run lengths.
    """
    crowds = [person for person in people if person.is_crowd]
    others = [person for person in people if not person.is_crowd]
    for person in crowds:
        if others:
            remark = f'{person.annotation.named} is left out: it has joints, but is marked "iscrowd"'
        else:
            remark = f'{person.annotation.named}: counts as a person, as everybody is marked "iscrowd"'
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
        raise InputError(f'{annotation.where}: no image has the id {given} that "image_id" names')
    annotation_id = annotation.get("id", int, str, NoneType)
    is_crowd = bool(annotation.get("iscrowd", int, bool, NoneType))
    return AnnotatedPerson(annotation, annotation_id, image_id, keypoints, is_crowd)


def _read_visibility(file: Record, people: Sequence[AnnotatedPerson], remarks: Remarks) -> None:
    """Make joints with visibility 1 visible, in place, where no joint of the file has 2.

    Such files know labelled joints alone, as CrowdPose's. What somebody has does not decide it: some people
    of COCO have none but occluded joints.
    """
    listed = [annotation.get("keypoints") for annotation in file.content["annotations"]]
    thirds = [third for keypoints in listed if isinstance(keypoints, list) for third in keypoints[2::3]]
    if 1 in thirds and 2 not in thirds:
        remark = f"{file.where}: no joint has visibility 2; 1 is read as visible, not as occluded"
        remarks.add(remark, "visibility")
        for person in people:
            person.keypoints[person.keypoints[:, 2] == 1, 2] = 2


def labelled_keypoints(annotation: Record, categories: Categories) -> npt.NDArray[np.float32] | None:
    """The pose of a COCO annotation, (17, 3); None where no joint is labelled.

    Joints that COCO lacks, as some of CrowdPose's 14, are left out; those that the file lacks, and those at
    (0, 0), are missing.

    Raises InputError if it is of another form, or of no person.
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
