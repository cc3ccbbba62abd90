"""COCO annotation files and COCO keypoint result files, AlphaPose's among them."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import NoneType

import numpy as np
import numpy.typing as npt

from pose2seg.errors import InputError
from pose2seg.files import finite_number, read_json, shown
from pose2seg.poses.joints import JOINT_THRESHOLD, Joints, from_confidences, from_flags
from pose2seg.poses.people import ImagePoses, Person, PoseFile
from pose2seg.records import Record, records
from pose2seg.remarks import DatasetWarning
from pose2seg_ops import COCO_KEYPOINTS


def read_poses(path: Path | str, joint_threshold: float | None = None) -> PoseFile:
    """The people of a COCO annotation file or a COCO keypoint result file.

    joint_threshold: the confidence from which a joint of a result is used; by default that of
        `pose2seg.poses.joints`. Annotations have none.

    Annotations belong to the image whose path ends in their "file_name"; those with iscrowd 0 and at least
    one labelled joint count, see `labelled_keypoints`. Results belong to the image whose name, with or
    without extension or leading zeros, is their "image_id". The third numbers of joints are confidences, and
    a joint is visible from the threshold on, else missing; in a file where all of them are 0, 1 and 2 they
    are COCO's visibility. Joints beyond COCO's 17, in results of Halpe or COCO-WholeBody models, are left
    out. A joint at (0, 0) is missing.

    Raises InputError that names the record for a file of another form, OSError for one that cannot be read.
    """
    path = Path(path)
    content = read_json(path)
    if isinstance(content, dict):
        if joint_threshold is not None:
            raise InputError(f"{path}: has no confidences, being of annotations: leave out --joint-threshold")
        return PoseFile(_read_annotations(Record(content, str(path))), _trailing_paths)
    if isinstance(content, list):
        threshold = JOINT_THRESHOLD if joint_threshold is None else joint_threshold
        images = _read_results(records(content, str(path)), threshold, path)
        return PoseFile(images, _identifiers, threshold)
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
            person = Person(
                keypoints,
                annotation_id=annotation.get("id", int, NoneType),
                track_id=_read_track(annotation),
            )
            by_id[image_id].people.append(person)
    read_visibility(file, (person.keypoints for poses in by_id.values() for person in poses.people))
    return by_name


def read_visibility(file: Record, poses: Iterable[npt.NDArray[np.float32]]) -> None:
    """Make joints with visibility 1 visible, in place, where no joint of an annotation file has 2.

    Such files know labelled joints alone, as CrowdPose's; with a DatasetWarning. What somebody has does not
    decide it: some people of COCO have none but occluded joints.
    """
    listed = [annotation.get("keypoints") for annotation in file.content["annotations"]]
    thirds = [third for keypoints in listed if isinstance(keypoints, list) for third in keypoints[2::3]]
    if 1 in thirds and 2 not in thirds:
        warnings.warn(
            f"{file.where}: no joint has visibility 2; 1 is read as visible, not as occluded",
            DatasetWarning,
            stacklevel=4,
        )
        for pose in poses:
            pose[pose[:, 2] == 1, 2] = 2


def _read_track(record: Record) -> int | None:
    """Of PoseTrack's annotations and of results of trackers."""
    track = record.content.get("track_id")
    return track if type(track) is int else None


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
    keypoints = from_flags(keypoints)
    return keypoints if keypoints[:, 2].any() else None


def _read_results(results: Iterator[Record], threshold: float, path: Path) -> dict[str, ImagePoses]:
    images: dict[str, ImagePoses] = {}
    found: list[tuple[ImagePoses, Joints, float, int | None]] = []
    for result in results:
        image_id = result.get("image_id", int, str)
        joints = _body(result)
        poses = images.setdefault(str(image_id), ImagePoses(image_id))
        score = finite_number(result.content.get("score"), f'{result.where}: "score"')
        found.append((poses, joints, score, _read_track(result)))
    thirds = {third for _, joints, _, _ in found for third in joints[:, 2].tolist()}
    has_flags = 2 in thirds and thirds <= {0, 1, 2}
    for poses, joints, score, track in found:
        keypoints = from_flags(joints) if has_flags else from_confidences(joints, threshold)
        if keypoints[:, 2].any():
            poses.people.append(Person(keypoints, score, track_id=track))
    highest = max(thirds, default=0)
    if 0 < highest < threshold:
        raise InputError(
            f"{path}: no joint has a confidence of {threshold:g}, the highest is {highest:g}: "
            "its scale may be another one, which --joint-threshold can follow"
        )
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
