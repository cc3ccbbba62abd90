"""Reading datasets of people with poses and masks, in COCO's annotation format."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from pose2seg.common.errors import InputError
from pose2seg.common.files import is_there
from pose2seg.common.gone import Version, version_of
from pose2seg.common.images import read_image, require_size
from pose2seg.common.records import Record, finite_number, read_json
from pose2seg.common.remarks import DatasetWarning as DatasetWarning
from pose2seg.common.remarks import Remarks
from pose2seg.common.text import counted, shown, shown_path
from pose2seg.data.annotated_masks import MOST_PIXELS, count_specks, decode, is_possible, read_segmentation
from pose2seg.data.annotation_parts import AnnotatedMask, join_parts
from pose2seg.data.poses import stack_poses, unit_problem
from pose2seg.data.poses.annotations import (
    AnnotatedPerson,
    annotation_file,
    read_annotated_people,
    read_image_records,
    without_crowds,
)
from pose2seg.data.poses.categories import person_categories
from pose2seg_ops import RLE


@dataclass(frozen=True)
class PersonMask:
    """A person with a pose and a mask.

    annotation_id: the "id" of the annotation, or None.
    keypoints: (17, 3) float32 x, y in pixels, and COCO visibility: 0 missing, 1 occluded, 2 visible.
    segmentation: the mask, as compressed run lengths of the image's size.
    area: the area in pixels from the annotation, or that of the mask if the annotation has none or an
        impossible one.
    box: x, y, width and height in pixels, chosen in the same way.
    """

    annotation_id: int | str | None
    keypoints: npt.NDArray[np.float32]
    segmentation: RLE
    area: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class PersonImage:
    """An image file and the people in it.

    size: (height, width).
    version: the version of the file when `read_dataset` found it.
    """

    image_id: int | str
    path: Path
    size: tuple[int, int]
    people: list[PersonMask] = field(default_factory=list)
    version: Version = None

    @property
    def keypoints(self) -> npt.NDArray[np.float32]:
        """The poses of all people, (n, 17, 3)."""
        return stack_poses([person.keypoints for person in self.people])

    @property
    def masks(self) -> npt.NDArray[np.uint8]:
        """The masks of all people, (n, height, width) of 0 and 1."""
        return decode([person.segmentation for person in self.people], self.size)

    def read(self) -> npt.NDArray[np.uint8]:
        """Returns the decoded image, (height, width, 3) uint8 BGR.

        Raises InputError if it is damaged or does not have the annotated size, and OSError if it is
        unreadable.
        """
        image = read_image(self.path)
        require_size(self.path, image, self.size, "annotated as")
        return image


def read_dataset(annotations: Path | str, images: Path | str) -> list[PersonImage]:
    """Reads the images, in the order of the file, that show people with a pose and a mask.

    As in the COCOPersons protocol of Pose2Seg (Zhang et al., CVPR 2019), a person is used if it has at least
    one labelled joint, a segmentation, and "iscrowd" 0.

    annotations: a file in COCO's format, such as person_keypoints_*.json of COCO 2017 or
        ochuman_coco_format_*.json of OCHuman. Variants that tools write are read too: see
        `read_annotated_people` for other joints, categories and crowds. If all joints and masks are in
        separate annotations, the pairs that certainly belong together are joined (`join_parts`).
    images: the folder that "file_name" is relative to. If none of the files exists there, files of
        the same names directly in the folder are used.

    Records that cannot be used, such as an image with all joints outside of it, are left out with a
    DatasetWarning for each kind of fault. An image is opened only by `PersonImage.read`.

    Raises InputError, which names the record, if the file is malformed, if the size of an image with
    people is impossible or its "file_name" leaves the folder, and if no image remains. Raises OSError if a
    file or folder cannot be read.
    """
    annotations, images = Path(annotations), Path(images)
    file = annotation_file(annotations, read_json(annotations))
    if not images.is_dir():
        raise InputError(f"{images}: no such folder of images")
    with Remarks() as remarks:
        return _read_dataset(file, images, remarks)


def _read_dataset(file: Record, images: Path, remarks: Remarks) -> list[PersonImage]:
    records = read_image_records(file)
    by_id = {key: _read_image(record, images) for key, record in records.items()}
    people = read_annotated_people(file, remarks, records)
    for person, mask in _find_masks(file, people, by_id, remarks):
        _usable(by_id[person.image]).people.append(_person_mask(person, mask, remarks))
    for key, image in by_id.items():
        if isinstance(image, InputError):
            remarks.left_out(records[key], image)
    dataset = [image for image in by_id.values() if isinstance(image, PersonImage) and image.people]
    if not dataset:
        found = _what_was_found(file, people)
        raise InputError(f"{file.where}: no image has a person with joints and a mask: {found}")
    with_files = _with_files(_in_pixels(dataset, remarks), records, images, remarks)
    return [replace(image, version=version_of(image.path)) for image in with_files]


def _read_image(record: Record, folder: Path) -> PersonImage | InputError:
    """Returns an image without people, or the error in its record, which matters only if it has people."""
    try:
        name = record.get("file_name", str)
        if not _is_inside(name):
            raise InputError(f'{record.named}: "file_name" must stay in the folder, got {shown(name)}')
        size = record.get("height", int), record.get("width", int)
        if not is_possible(size):
            raise InputError(f"{record.named}: no image is {size[1]} x {size[0]}")
    except InputError as fault:
        return fault
    return PersonImage(record.content["id"], folder / name, size)


def _usable(image: PersonImage | InputError) -> PersonImage:
    if isinstance(image, InputError):
        raise image
    return image


def _is_inside(name: str) -> bool:
    """Returns whether a relative path stays in its folder, on every operating system."""
    path = PureWindowsPath(name)  # accepts both / and \\ as separators
    return (
        bool(path.name) and not path.drive and not path.root and ".." not in path.parts and "\0" not in name
    )


def _in_pixels(dataset: Sequence[PersonImage], remarks: Remarks) -> list[PersonImage]:
    """Returns the images whose poses are in pixels. Raises InputError if there are none."""
    in_pixels, problems = [], []
    for image in dataset:
        problem = unit_problem(image.keypoints, image.size)
        if problem is None:
            in_pixels.append(image)
        else:
            problems.append(f"{shown_path(image.path)}: {problem}")
            remarks.add(f"{problems[-1]}; it is left out", "not in pixels")
    if not in_pixels:
        raise InputError(problems[0])
    return in_pixels


def _with_files(
    dataset: Sequence[PersonImage], records: Mapping[str, Record], folder: Path, remarks: Remarks
) -> list[PersonImage]:
    """Returns the images whose files exist. Raises InputError if none does."""
    if not any(is_there(image.path) for image in dataset):
        dataset = _without_folders(dataset, records, folder, remarks)
    with_files = []
    for image in dataset:
        if is_there(image.path):
            with_files.append(image)
        else:
            path, image_id = shown_path(image.path), shown(image.image_id)
            remarks.add(f"{path}: no such file; image {image_id} is left out", "no such file")
    return with_files


def _without_folders(
    dataset: Sequence[PersonImage], records: Mapping[str, Record], folder: Path, remarks: Remarks
) -> list[PersonImage]:
    """Returns the images without the subfolders in their paths, if such files exist and are unique."""
    named = [_name_alone(record) for record in records.values()]
    once = {name for name, count in Counter(named).items() if count == 1}
    moved = []
    for image in dataset:
        name = _name_alone(records[str(image.image_id)])
        alone = replace(image, path=folder / name)
        if name in once and is_there(alone.path):
            remark = f"{shown_path(image.path)}: no such file; {shown_path(alone.path)} is used instead"
            remarks.add(remark, "without folders")
            moved.append(alone)
        else:
            moved.append(image)
    if not any(is_there(image.path) for image in moved):  # the folder is probably the wrong one
        path = shown_path(dataset[0].path)
        raise InputError(f"{folder}: has none of the {len(dataset)} images, such as {path}")
    return moved


def _name_alone(image: Record) -> str:
    return PureWindowsPath(str(image.content.get("file_name"))).name


def _find_masks(
    file: Record,
    people: Sequence[AnnotatedPerson],
    images: Mapping[str, PersonImage | InputError],
    remarks: Remarks,
) -> list[tuple[AnnotatedPerson, AnnotatedMask]]:
    """Returns the people who have masks, with these masks."""
    whole = without_crowds([person for person in people if _has_mask(person.annotation)], remarks)
    if whole:
        masks = [_read_mask(p.annotation, p.image, _usable(images[p.image]), remarks) for p in whole]
        return [(person, mask) for person, mask in zip(whole, masks, strict=True) if mask is not None]
    joined = join_parts(people, _read_masks(file, {person.image for person in people}, images, remarks))
    for person, mask in joined:
        other = mask.annotation.named.removeprefix(f"{file.where}: ")
        remark = f"{person.annotation.named} and {other} are joined, as the joints and the mask of one person"
        remarks.add(remark, "joined")
    certain = {person.annotation.where for person, _ in joined}
    for person in people if joined else ():
        if person.annotation.where not in certain:
            where = person.annotation.named
            remarks.add(f"{where} is left out: no mask certainly belongs to this person", "not joined")
    return joined


def _has_mask(annotation: Record) -> bool:
    return annotation.content.get("segmentation") not in (None, [], [[]])


def _read_masks(
    file: Record, wanted: Set[str], images: Mapping[str, PersonImage | InputError], remarks: Remarks
) -> list[AnnotatedMask]:
    """Returns the masks on the wanted images: those of people or, if no category is a person, all of them."""
    annotations = [
        annotation
        for annotation in file.list_of_records("annotations")
        if _has_mask(annotation) and str(annotation.content.get("image_id")) in wanted
    ]
    of_people = person_categories(file)
    annotations = [a for a in annotations if str(a.content.get("category_id")) in of_people] or annotations
    masks = []
    for annotation in annotations:
        image = str(annotation.content["image_id"])
        mask = _read_mask(annotation, image, _usable(images[image]), remarks)
        if mask is not None:
            masks.append(mask)
    return masks


def _read_mask(
    annotation: Record, image: str, of_image: PersonImage, remarks: Remarks
) -> AnnotatedMask | None:
    """Returns the mask of an annotation, or None if it cannot be used."""
    try:
        segmentation = read_segmentation(annotation.content["segmentation"], of_image.size)
    except InputError as error:
        remarks.left_out(annotation, error)
        return None
    specks = count_specks(annotation.content["segmentation"])
    if specks:
        polygons = counted(specks, "polygon", "polygons")
        remark = f'{annotation.named}: {polygons} of fewer than three points in "segmentation" left out'
        remarks.add(remark, "specks")
    return AnnotatedMask(annotation, image, segmentation)


def _person_mask(person: AnnotatedPerson, mask: AnnotatedMask, remarks: Remarks) -> PersonMask:
    area, box = _area(mask, remarks), _box(mask, remarks)
    return PersonMask(person.annotation_id, person.keypoints, mask.segmentation, area, box)


def _area(mask: AnnotatedMask, remarks: Remarks) -> float:
    given = mask.annotation.content.get("area")
    try:
        if given is not None:
            area = finite_number(given, '"area"')
            if 0 <= area <= MOST_PIXELS:
                return area
            raise InputError(f'"area" must be from 0 to {MOST_PIXELS} pixels, got {shown(given)}')
    except InputError as error:
        remarks.replaced(mask.annotation, error, "that of the mask is taken")
    return float(coco_mask.area(mask.segmentation))


def _box(mask: AnnotatedMask, remarks: Remarks) -> tuple[float, float, float, float]:
    try:
        if mask.annotation.content.get("bbox") not in (None, []):
            return mask.annotation.box("bbox")
    except InputError as error:
        remarks.replaced(mask.annotation, error, "that of the mask is taken")
    x, y, width, height = coco_mask.toBbox(mask.segmentation).tolist()
    return x, y, width, height


def _what_was_found(file: Record, people: Sequence[AnnotatedPerson]) -> str:
    """Describes the contents of a file in which nobody has both joints and a mask, for the message."""
    masks = sum(map(_has_mask, file.list_of_records("annotations")))
    joints = f'{counted(len(people), "annotation", "annotations")} with a labelled joint in "keypoints"'
    found = f'found {joints}, and {counted(masks, "mask", "masks")} in "segmentation"'
    if any(_has_mask(person.annotation) for person in people):
        return f"{found}, but no usable mask of a person with joints"
    if people and masks:
        return (
            f"{found} of other annotations, none of which certainly belongs to the same person: put the "
            "joints and the mask of a person into one annotation"
        )
    return f"{found}; one file must have both" if people or masks else found
