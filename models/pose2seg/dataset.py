"""Reading datasets of people with a pose and a mask each, in COCO's annotation format."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from pose2seg.annotated_masks import count_specks, decode, read_segmentation
from pose2seg.annotation_parts import AnnotatedMask, join_parts
from pose2seg.counts import counted
from pose2seg.errors import InputError
from pose2seg.files import finite_number, is_there, read_image, read_json, require_size, shown, shown_path
from pose2seg.gone import Version, version_of
from pose2seg.poses import stack_poses, unit_problem
from pose2seg.poses.annotations import (
    AnnotatedPerson,
    read_annotated_people,
    read_image_records,
    without_crowds,
)
from pose2seg.poses.categories import person_categories
from pose2seg.records import Record
from pose2seg.remarks import DatasetWarning as DatasetWarning
from pose2seg.remarks import Remarks
from pose2seg_ops import RLE

_LARGEST_SIDE = 2**20  # OpenCV reads nothing larger,
_MOST_PIXELS = 2**30  # nor this; and pycocotools counts them in 32 bits


@dataclass(frozen=True)
class PersonMask:
    """A person with a pose and a mask.

    annotation_id: the "id" of the annotation; None where it has none.
    keypoints: (17, 3) float32 x, y in pixels, and COCO visibility: 0 missing, 1 occluded, 2 visible.
    segmentation: the mask, as compressed run lengths of the image's size.
    area: pixels, as the annotation says, or of the mask where it says nothing, or what cannot be.
    box: x, y, width and height in pixels, in the same way.
    """

    annotation_id: int | str | None
    keypoints: npt.NDArray[np.float32]
    segmentation: RLE
    area: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class PersonImage:
    """A photograph with people; `size` is (height, width).

    version: of the file when `read_dataset` found it.
    """

    image_id: int | str
    path: Path
    size: tuple[int, int]
    people: list[PersonMask] = field(default_factory=list)
    version: Version = None

    @property
    def keypoints(self) -> npt.NDArray[np.float32]:
        """(n, 17, 3)."""
        return stack_poses([person.keypoints for person in self.people])

    @property
    def masks(self) -> npt.NDArray[np.uint8]:
        """(n, height, width) of 0 and 1."""
        return decode([person.segmentation for person in self.people], self.size)

    def read(self) -> npt.NDArray[np.uint8]:
        """The photograph, (height, width, 3) uint8 BGR.

        Raises InputError if it is damaged or of another size than its annotations, OSError if unreadable.
        """
        image = read_image(self.path)
        require_size(self.path, image, self.size, "annotated as")
        return image


def read_dataset(annotations: Path | str, images: Path | str) -> list[PersonImage]:
    """The images, in the order of the file, in which somebody has a pose and a mask; and those people.

    As in the COCOPersons protocol of Pose2Seg (Zhang et al., CVPR 2019), a person counts with at least one
    labelled joint, a segmentation, and "iscrowd" 0.

    annotations: COCO's format, as COCO 2017 has it in person_keypoints_*.json and OCHuman in
        ochuman_coco_format_*.json, and what tools make of it: see `read_annotated_people` for other joints,
        categories and crowds. Where joints and masks are all in annotations of their own, those are joined
        that belong together without doubt (`join_parts`).
    images: the folder that "file_name" is relative to. Where it has none of these files, but some of their
        names without the folders before them, these are taken.

    What cannot be used, as an image in which all joints are outside of it, is left out with a DatasetWarning
    for each kind of fault. An image is opened only when it is needed, by `PersonImage.read`.

    Raises InputError that names the record for a file of another form, for a size that no image has and a
    "file_name" that leaves the folder, if somebody is on that image; or if nobody is left. Raises OSError for
    a file or folder that cannot be read.
    """
    annotations, images = Path(annotations), Path(images)
    content = read_json(annotations)
    if not isinstance(content, dict):
        raise InputError(f"{annotations}: expected COCO annotations (an object), got {shown(content)}")
    if not images.is_dir():
        raise InputError(f"{images}: no such folder of images")
    file, remarks = Record(content, str(annotations)), Remarks()
    records = read_image_records(file)
    by_id = {key: _read_image(record, images) for key, record in records.items()}
    people = read_annotated_people(file, remarks, records)
    for person, mask in _find_masks(file, people, by_id, remarks):
        _usable(by_id[person.image]).people.append(_person_mask(person, mask, remarks))
    for key, image in by_id.items():
        if isinstance(image, InputError):
            remarks.left_out(records[key], image)
    dataset = [image for image in by_id.values() if isinstance(image, PersonImage) and image.people]
    if dataset:
        dataset = _with_files(_in_pixels(dataset, remarks), records, images, remarks)
    remarks.tell()
    if not dataset:
        found = _what_was_found(file, people)
        raise InputError(f"{annotations}: no image has a person with joints and a mask: {found}")
    return [replace(image, version=version_of(image.path)) for image in dataset]


def _read_image(record: Record, folder: Path) -> PersonImage | InputError:
    """Without people yet; or the fault of the record, which matters once somebody is on the image."""
    try:
        name = record.get("file_name", str)
        if not _is_inside(name):
            raise InputError(f'{record.named}: "file_name" must stay in the folder, got {shown(name)}')
        size = record.get("height", int), record.get("width", int)
        if not all(1 <= side <= _LARGEST_SIDE for side in size) or size[0] * size[1] > _MOST_PIXELS:
            raise InputError(f"{record.named}: no image is {size[1]} x {size[0]}")
    except InputError as fault:
        return fault
    return PersonImage(record.content["id"], folder / name, size)


def _usable(image: PersonImage | InputError) -> PersonImage:
    if isinstance(image, InputError):
        raise image
    return image


def _is_inside(name: str) -> bool:
    """Whether a path relative to a folder is that of a file below it, on every operating system."""
    path = PureWindowsPath(name)  # takes / and \\ for separators
    return (
        bool(path.name) and not path.drive and not path.root and ".." not in path.parts and "\0" not in name
    )


def _in_pixels(dataset: Sequence[PersonImage], remarks: Remarks) -> list[PersonImage]:
    """The images whose poses are in their pixels. Raises InputError if there is none."""
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
    """The images that are there. Raises InputError if none is."""
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
    """The images by their names alone, without the folders before them, where no two share a name."""
    named = [_name_alone(record) for record in records.values()]
    once = {name for name, count in Counter(named).items() if count == 1}
    moved = []
    for image in dataset:
        name = _name_alone(records[str(image.image_id)])
        alone = replace(image, path=folder / name)
        if name in once and is_there(alone.path):
            remark = (
                f"{shown_path(image.path)}: no such file, so that {shown_path(alone.path)} is taken for it"
            )
            remarks.add(remark, "without folders")
            moved.append(alone)
        else:
            moved.append(image)
    if not any(is_there(image.path) for image in moved):  # another folder is meant: that is one mistake
        path = shown_path(dataset[0].path)
        raise InputError(f"{folder}: none of the {len(dataset)} images is there, such as {path}")
    return moved


def _name_alone(image: Record) -> str:
    return PureWindowsPath(str(image.content.get("file_name"))).name


def _find_masks(
    file: Record,
    people: Sequence[AnnotatedPerson],
    images: Mapping[str, PersonImage | InputError],
    remarks: Remarks,
) -> list[tuple[AnnotatedPerson, AnnotatedMask]]:
    """The people who have a mask, and it."""
    whole = without_crowds([person for person in people if _has_mask(person.annotation)], remarks)
    if whole:
        masks = [_read_mask(p.annotation, p.image, _usable(images[p.image]), remarks) for p in whole]
        return [(person, mask) for person, mask in zip(whole, masks, strict=True) if mask is not None]
    joined = join_parts(people, _read_masks(file, {person.image for person in people}, images, remarks))
    for person, mask in joined:
        other = mask.annotation.named.removeprefix(f"{file.where}: ")
        remark = f"{person.annotation.named} and {other} are taken for the joints and the mask of one person"
        remarks.add(remark, "joined")
    certain = {person.annotation.where for person, _ in joined}
    for person in people if joined else ():
        if person.annotation.where not in certain:
            where = person.annotation.named
            remarks.add(f"{where} is left out: there is no mask that is certainly the person's", "not joined")
    return joined


def _has_mask(annotation: Record) -> bool:
    return annotation.content.get("segmentation") not in (None, [], [[]])


def _read_masks(
    file: Record, wanted: Set[str], images: Mapping[str, PersonImage | InputError], remarks: Remarks
) -> list[AnnotatedMask]:
    """The masks on the wanted images: of people, where a category is called so, else of everything."""
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
    """None if it cannot be used."""
    try:
        segmentation = read_segmentation(annotation.content["segmentation"], of_image.size)
    except InputError as error:
        remarks.left_out(annotation, error)
        return None
    specks = count_specks(annotation.content["segmentation"])
    if specks:
        polygons = counted(specks, "polygon", "polygons")
        remark = f'{annotation.named}: {polygons} of less than three points in "segmentation" left out'
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
            if 0 <= area <= _MOST_PIXELS:
                return area
            raise InputError(f'"area" must be 0 or more, and no more than an image has, got {shown(given)}')
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
    """Where nobody has joints and a mask."""
    masks = sum(map(_has_mask, file.list_of_records("annotations")))
    joints = f'{counted(len(people), "annotation", "annotations")} with a labelled joint in "keypoints"'
    found = f'found {joints}, and {counted(masks, "mask", "masks")} in "segmentation"'
    if any(_has_mask(person.annotation) for person in people):
        return f"{found}, but no mask that can be used beside joints"
    if people and masks:
        return f"{found} of other annotations, of which none is certainly the same person's: join them in one"
    return f"{found}, where both have to be in one file" if people or masks else found
