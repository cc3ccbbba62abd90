"""COCO annotation files and COCO keypoint result files, AlphaPose's among them."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import NamedTuple

from pose2seg.errors import InputError
from pose2seg.files import finite_number, read_json, shown
from pose2seg.poses.annotations import read_annotated_people, read_image_records, without_crowds
from pose2seg.poses.joints import JOINT_THRESHOLD, Joints, from_confidences, from_flags
from pose2seg.poses.people import ImagePoses, Person, PoseFile
from pose2seg.records import Record, records
from pose2seg.remarks import Remarks
from pose2seg_ops import COCO_KEYPOINTS


def read_poses(path: Path | str, joint_threshold: float | None = None) -> PoseFile:
    """The people of a COCO annotation file or a COCO keypoint result file.

    joint_threshold: the confidence from which a joint of a result is used; by default that of
        `pose2seg.poses.joints`. Annotations have none.

    Annotations belong to the image whose path ends in their "file_name"; those of people with at least one
    labelled joint count, see `read_annotated_people`. Results belong to the image whose name, with or
    without extension or leading zeros, is their "image_id". The third numbers of joints are confidences, and
    a joint is visible from the threshold on, else missing; in a file where all of them are 0, 1 and 2 they
    are COCO's visibility. Joints beyond COCO's 17, in results of Halpe or COCO-WholeBody models, are left
    out. A joint at (0, 0) is missing.

    A record that cannot be used is left out with a DatasetWarning.

    Raises InputError that names the record for a file of another form, or if none can be used; OSError for
    one that cannot be read.
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
    remarks = Remarks()
    by_name: dict[str, ImagePoses] = {}
    by_id: dict[str, ImagePoses] = {}
    for key, image in read_image_records(file).items():
        poses = by_id[key] = ImagePoses(image.content["id"], _size(image))
        name = PurePosixPath(image.get("file_name", str)).as_posix()  # without ./
        if by_name.setdefault(name, poses) is not poses:
            raise InputError(f'{image.where}: another image has this "file_name" too, {shown(name)}')
    for person in without_crowds(read_annotated_people(file, remarks, by_id), remarks):
        track = _read_track(person.annotation)
        annotated = Person(person.keypoints, annotation_id=person.annotation_id, track_id=track)
        by_id[person.image].people.append(annotated)
    remarks.tell()
    return by_name


def _size(image: Record) -> tuple[int, int] | None:
    """Height and width; None where they are not known, for which some tools write 0."""
    height, width = (image.get(side, int, NoneType) or 0 for side in ("height", "width"))
    return (height, width) if height > 0 and width > 0 else None


def _read_track(record: Record) -> int | None:
    """Of PoseTrack's annotations and of results of trackers."""
    track = record.content.get("track_id")
    return track if type(track) is int else None


class _Result(NamedTuple):
    """A person before the threshold, with `joints` (17, 3), and the image that has them."""

    poses: ImagePoses
    joints: Joints
    score: float
    track: int | None


def _read_results(results: Iterator[Record], threshold: float, path: Path) -> dict[str, ImagePoses]:
    remarks = Remarks()
    images: dict[str, ImagePoses] = {}

    def read(result: Record) -> _Result | None:
        image_id = result.get("image_id", int, str)
        poses = images.setdefault(str(image_id), ImagePoses(image_id))
        joints = _body(result)
        score = finite_number(result.content.get("score"), f'{result.where}: "score"')
        return _Result(poses, joints, score, _read_track(result)) if (joints[:, 2] > 0).any() else None

    found = remarks.usable(results, read)
    remarks.tell()
    thirds = {third for result in found for third in result.joints[:, 2].tolist()}
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


def _body(record: Record) -> Joints:
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
