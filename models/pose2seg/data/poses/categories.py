"""The categories of a COCO file: which are people, and which joints their annotations list."""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

from pose2seg.common.errors import InputError
from pose2seg.common.records import Record
from pose2seg.common.remarks import Remarks
from pose2seg.common.text import shown
from pose2seg.data.poses.joint_names import coco_joint
from pose2seg_ops import COCO_KEYPOINTS

#: The COCO joints that an annotation lists, in its order; None for a joint that COCO lacks.
Joints: TypeAlias = Sequence[str | None]


class Categories(NamedTuple):
    """The categories of a file, by their ids as text.

    people: the joints of each category that is a person.
    others: the names of the other categories, for messages.
    """

    people: Mapping[str, Joints]
    others: Mapping[str, str]

    def joints_of(self, annotation: Record) -> Joints:
        """Returns the joints that an annotation lists. Raises InputError if it is not of a person."""
        category = annotation.get("category_id", int, str, NoneType)
        if category is None or not self.people:
            return COCO_KEYPOINTS
        if str(category) not in self.people:
            got = f"{shown(category)} ({self.others.get(str(category), 'in no category')})"
            raise InputError(f'{annotation.where}: "category_id" must be that of a person, got {got}')
        return self.people[str(category)]


def read_categories(file: Record, remarks: Remarks) -> Categories:
    """Reads the categories that are used by annotations with joints.

    The categories of people are those called a person by their "name" or "supercategory"; if there are none,
    those that share the most joints with COCO. Joints are recognised by their names, see `coco_joint`; if a
    category has no names of joints, they are COCO's.

    Raises InputError if most joints of a person are unknown, or if a joint is listed twice.
    """
    if file.content.get("categories") is None:
        return Categories({}, {})
    used = _categories_with_joints(file.get("annotations", list))
    listed: dict[str, Record] = {}
    for category in file.list_of_records("categories"):
        key = str(category.get("id", int, str))
        if key in used and listed.setdefault(key, category).content != category.content:
            raise InputError(f'{category.where}: another category has this "id" too, {shown(key)}')
    joints = {key: _joints(category) for key, category in listed.items()}
    known = {key: sum(joint is not None for joint in joints[key]) for key in joints}
    people = [key for key, category in listed.items() if _is_called_a_person(category)]
    people = people or [key for key in known if known[key] == max(known.values())]
    for key in people:
        _require_joints(listed[key], joints[key], remarks)
    others = {
        key: shown(category.content.get("name")) for key, category in listed.items() if key not in people
    }
    return Categories({key: joints[key] for key in people}, others)


def person_categories(file: Record) -> set[str]:
    """Returns the ids, as text, of a file's categories that are called a person."""
    categories = file.list_of_records("categories") if file.content.get("categories") is not None else ()
    return {str(category.content.get("id")) for category in categories if _is_called_a_person(category)}


def _categories_with_joints(annotations: Iterable[Any]) -> set[str]:
    with_joints = (a for a in annotations if isinstance(a, dict) and a.get("keypoints"))
    return {str(annotation.get("category_id")) for annotation in with_joints}


def _is_called_a_person(category: Record) -> bool:
    names = f"{category.content.get('name')} {category.content.get('supercategory')}"
    return not _PEOPLE.isdisjoint(re.findall("[a-z]+", names.lower()))


_PEOPLE = {"person", "persons", "people", "human", "humans", "pedestrian", "pedestrians"}


def _joints(category: Record) -> Joints:
    names = category.get("keypoints", list, NoneType)
    if not names:
        return COCO_KEYPOINTS
    return [coco_joint(name) if isinstance(name, str) else None for name in names]


def _require_joints(category: Record, joints: Joints, remarks: Remarks) -> None:
    names = category.content.get("keypoints") or joints
    known = [joint for joint in joints if joint is not None]
    unknown = [shown(name) for name, joint in zip(names, joints, strict=True) if joint is None]
    listed = ", ".join(unknown[:_MOST_LISTED]) + (", ..." if len(unknown) > _MOST_LISTED else "")
    if len(unknown) > len(known) and len(known) < len(COCO_KEYPOINTS) / 2:
        raise InputError(
            f'{category.named}: "keypoints" must be the names of joints, such as {COCO_KEYPOINTS[1]}, '
            f"but {len(unknown)} of {len(joints)} are unknown: {listed}"
        )
    for joint in known:
        if known.count(joint) > 1:
            same = [shown(name) for name, other in zip(names, joints, strict=True) if other == joint]
            raise InputError(f'{category.named}: "keypoints" has {joint} more than once: {", ".join(same)}')
    if unknown and len(known) < len(COCO_KEYPOINTS):
        remark = f'{category.named}: joints in "keypoints" that COCO lacks are left out: {listed}'
        remarks.add(remark, remark)


_MOST_LISTED = 40
