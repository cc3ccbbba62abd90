"""Reading datasets of people with a pose and a mask each, in COCO's annotation format."""

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from pose2seg.annotated_masks import decode, read_segmentation
from pose2seg.errors import InputError
from pose2seg.files import finite_number, read_image, read_json, shown
from pose2seg.gone import Version, version_of
from pose2seg.poses import labelled_keypoints, read_joint_names, read_visibility, stack_poses, unit_problem
from pose2seg.records import Record
from pose2seg.remarks import DatasetWarning as DatasetWarning
from pose2seg_ops import RLE

_LARGEST_SIDE = 2**20  # OpenCV reads nothing larger,
_MOST_PIXELS = 2**30  # nor this; and pycocotools counts them in 32 bits


@dataclass(frozen=True)
class PersonMask:
    """A person with a pose and a mask.

    annotation_id: the "id" of the annotation.
    keypoints: (17, 3) float32 x, y in pixels, and COCO visibility: 0 missing, 1 occluded, 2 visible.
    segmentation: the mask, as compressed run lengths of the image's size.
    area: pixels, as the annotation says, or of the mask where it says nothing.
    box: x, y, width and height in pixels, as the annotation says, or of the mask.
    """

    annotation_id: int
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
        if image.shape[:2] != self.size:
            shape = f"{image.shape[1]} x {image.shape[0]}"
            raise InputError(f"{self.path}: is {shape}, but annotated as {self.size[1]} x {self.size[0]}")
        return image


def read_dataset(annotations: Path | str, images: Path | str) -> list[PersonImage]:
    """The images, in the order of the file, in which somebody has a pose and a mask; and those people.

    As in the COCOPersons protocol of Pose2Seg (Zhang et al., CVPR 2019), a person counts with at least one
    labelled joint, a segmentation, and "iscrowd" 0.

    annotations: COCO's format, as COCO 2017 has it in person_keypoints_*.json and OCHuman in
        ochuman_coco_format_*.json. Where "categories" name other joints, such as the 14 of CrowdPose, those
        that COCO lacks are left out, and those that the file lacks are missing joints.
    images: the folder that "file_name" is relative to.

    A person whose segmentation cannot be used, and an image that is not in the folder or in which all joints
    are outside of it, are left out with a DatasetWarning each. An image is opened only when it is needed, by
    `PersonImage.read`.

    Raises InputError that names the record for a file of another form and for a "file_name" that leaves the
    folder, or if nobody is left; OSError for a file or folder that cannot be read.
    """
    annotations, images = Path(annotations), Path(images)
    content = read_json(annotations)
    if not isinstance(content, dict):
        raise InputError(f"{annotations}: expected COCO annotations (an object), got {shown(content)}")
    if not images.is_dir():
        raise InputError(f"{images}: no such folder of images")
    file = Record(content, str(annotations))
    by_id = _read_images(file, images)
    _read_people(file, by_id)
    dataset = [image for image in by_id.values() if image.people]
    if not dataset:
        raise InputError(f"{annotations}: no image has a person with joints and a mask")
    there = _without_missing(_in_pixels(dataset), images)
    return [replace(image, version=version_of(image.path)) for image in there]


def _in_pixels(dataset: list[PersonImage]) -> list[PersonImage]:
    """The images whose poses are in their pixels; with a DatasetWarning for each of the others."""
    problems = [unit_problem(image.keypoints, image.size) for image in dataset]
    told = [f"{image.path}: {problem}" for image, problem in zip(dataset, problems, strict=True) if problem]
    if len(told) == len(dataset):
        raise InputError(told[0])
    for problem in told:
        warnings.warn(f"{problem}; it is left out", DatasetWarning, 3)
    return [image for image, problem in zip(dataset, problems, strict=True) if problem is None]


def _read_images(file: Record, folder: Path) -> dict[int | str, PersonImage]:
    images: dict[int | str, PersonImage] = {}
    for record in file.list_of_records("images"):
        image_id = record.get("id", int, str)
        if image_id in images:
            raise InputError(f'{record.where}: another image has this "id" too, {shown(image_id)}')
        name = record.get("file_name", str)
        if not _is_inside(name):
            raise InputError(
                f'{record.where} (id {image_id}): "file_name" must stay in the folder, got {shown(name)}'
            )
        size = record.get("height", int), record.get("width", int)
        if not all(1 <= side <= _LARGEST_SIDE for side in size) or size[0] * size[1] > _MOST_PIXELS:
            raise InputError(f"{record.where} (id {image_id}): no image is {size[1]} x {size[0]}")
        images[image_id] = PersonImage(image_id, folder / name, size)
    return images


def _is_inside(name: str) -> bool:
    """Whether a path relative to a folder is that of a file below it, on every operating system."""
    path = PureWindowsPath(name)  # takes / and \\ for separators
    return (
        bool(path.name) and not path.drive and not path.root and ".." not in path.parts and "\0" not in name
    )


def _without_missing(dataset: list[PersonImage], folder: Path) -> list[PersonImage]:
    there = [image.path.is_file() for image in dataset]
    if not any(there):  # another folder is meant: that is one mistake
        raise InputError(f"{folder}: none of the {len(dataset)} images is there, such as {dataset[0].path}")
    for image, is_there in zip(dataset, there, strict=True):
        if not is_there:
            message = f"{image.path}: no such file; image {image.image_id!r} is left out"
            warnings.warn(message, DatasetWarning, 3)
    return [image for image, is_there in zip(dataset, there, strict=True) if is_there]


def _read_people(file: Record, images: dict[int | str, PersonImage]) -> None:
    joints = read_joint_names(file)
    for annotation in file.list_of_records("annotations"):
        image_id = annotation.get("image_id", int, str)
        if image_id not in images:
            raise InputError(f'{annotation.where}: no image has the id {image_id!r} that "image_id" names')
        keypoints = labelled_keypoints(annotation, joints)
        if keypoints is not None and annotation.content.get("segmentation") not in (None, []):
            annotation_id = annotation.get("id", int)
            try:
                person = _read_person(annotation, annotation_id, keypoints, images[image_id].size)
            except InputError as error:
                message = f"{annotation.where} (id {annotation_id}) is left out: {error}"
                warnings.warn(message, DatasetWarning, 3)
            else:
                images[image_id].people.append(person)
    read_visibility(file, (person.keypoints for image in images.values() for person in image.people))


def _read_person(
    annotation: Record, annotation_id: int, keypoints: npt.NDArray[np.float32], size: tuple[int, int]
) -> PersonMask:
    segmentation = read_segmentation(annotation.content["segmentation"], size)
    area = annotation.content.get("area", int(coco_mask.area(segmentation)))
    if "bbox" in annotation.content:
        box = annotation.box("bbox")
    else:
        x, y, width, height = coco_mask.toBbox(segmentation).tolist()
        box = x, y, width, height
    return PersonMask(annotation_id, keypoints, segmentation, finite_number(area, '"area"'), box)
