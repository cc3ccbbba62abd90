"""COCO annotation files, and COCO keypoint result files, which AlphaPose also writes."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import Any, NamedTuple

from pose2seg.common.errors import InputError
from pose2seg.common.records import Record, finite_number, records
from pose2seg.common.remarks import Remarks
from pose2seg.common.text import shown
from pose2seg.data.poses.annotations import (
    annotation_file,
    read_annotated_people,
    read_image_records,
    without_crowds,
)
from pose2seg.data.poses.joints import (
    LAYOUTS_THAT_BEGIN_AS_COCO,
    Joints,
    from_confidences,
    from_flags,
    require_scale,
)
from pose2seg.data.poses.people import ImagePoses, Person, PoseFile, identifiers, trailing_paths
from pose2seg_ops import COCO_KEYPOINTS


def read_annotations(path: Path, content: dict[str, Any]) -> PoseFile:
    """Returns the people of an annotation file, by the paths of their images."""
    with Remarks() as remarks:
        return PoseFile(_read_annotated(annotation_file(path, content), remarks), trailing_paths)


def read_results(path: Path, content: list[Any], given: float | None, threshold: float) -> PoseFile:
    """Returns the people of a result file, by the names of their images.

    given: the joint threshold of the user, or None.
    threshold: the joint threshold to use: `given` or the default.
    """
    images, confidences = _read_results(records(content, str(path)), threshold)
    require_scale(path, confidences, given, threshold)
    return PoseFile(images, identifiers, threshold)


def _read_annotated(file: Record, remarks: Remarks) -> dict[str, ImagePoses]:
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
    return by_name


def _size(image: Record) -> tuple[int, int] | None:
    """Returns height and width, or None if they are unknown, for which some tools write 0."""
    height, width = (image.get(side, int, NoneType) or 0 for side in ("height", "width"))
    return (height, width) if height > 0 and width > 0 else None


def _read_track(record: Record) -> int | None:
    """Returns the track of a person. CVAT and sleap-io write it as an attribute."""
    attributes = record.content.get("attributes")
    given = attributes if isinstance(attributes, dict) else {}
    tracks = record.content.get("track_id"), given.get("track_id"), given.get("object_id")
    return next((track for track in tracks if type(track) is int), None)


class _Result(NamedTuple):
    """A person before the threshold is applied.

    poses: the poses of the image that the person is in.
    joints: (17, 3) x, y and third number.
    """

    poses: ImagePoses
    joints: Joints
    score: float
    track: int | None


def _read_results(results: Iterator[Record], threshold: float) -> tuple[dict[str, ImagePoses], set[float]]:
    """Returns the people with joints above the threshold, by image, and all confidences."""
    images: dict[str, ImagePoses] = {}

    def read(result: Record) -> _Result | None:
        image_id = result.get("image_id", int, str)
        poses = images.setdefault(str(image_id), ImagePoses(image_id))
        joints = _body(result)
        score = finite_number(result.content.get("score"), f'{result.where}: "score"')
        return _Result(poses, joints, score, _read_track(result)) if (joints[:, 2] > 0).any() else None

    with Remarks() as remarks:
        found = remarks.usable(_without_repeats(results, remarks), read)
    thirds = {third for result in found for third in result.joints[:, 2].tolist()}
    has_flags = 2 in thirds and thirds <= {0, 1, 2}
    for poses, joints, score, track in found:
        keypoints = from_flags(joints) if has_flags else from_confidences(joints, threshold)
        if keypoints[:, 2].any():
            poses.people.append(Person(keypoints, score, track_id=track))
    return images, set() if has_flags else thirds


def _without_repeats(results: Iterable[Record], remarks: Remarks) -> Iterator[Record]:
    """Yields each result once: tools that append to a file, or merge files, may write some twice."""
    seen: dict[str, Record] = {}
    for result in results:
        first = seen.setdefault(str(result.content), result)
        if first is result:
            yield result
        else:
            remarks.add(f"{result.where} is left out: it is equal to {first.where}", "repeat")


def _body(record: Record) -> Joints:
    """Returns the first 17 joints of a record, which are COCO's in all supported layouts."""
    count = len(record.get("keypoints", list))
    layouts = LAYOUTS_THAT_BEGIN_AS_COCO
    joints = next((joints for joints in layouts if count in (joints, 3 * joints)), len(COCO_KEYPOINTS))
    return record.joints("keypoints", joints)[: len(COCO_KEYPOINTS)]
