"""MMPose's files of many images: frames of a video, and the results of MMPose 0.x (tools/test.py --out)."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pose2seg.common.errors import InputError
from pose2seg.common.records import Record, records
from pose2seg.common.remarks import Remarks
from pose2seg.common.text import shown
from pose2seg.data.poses.instances import Instance, read_instance
from pose2seg.data.poses.joints import require_scale
from pose2seg.data.poses.people import ImagePoses, PoseFile, identifiers, image_id_of, trailing_paths


def are_frames(content: list[Any]) -> bool:
    """Returns whether the entries of a list are frames: {"frame_id": ..., "instances": [...]}."""
    return bool(content) and isinstance(content[0], dict) and {"frame_id", "instances"} <= content[0].keys()


def are_batches(content: list[Any]) -> bool:
    """Returns whether the entries of a list are batches: {"preds": ..., "image_paths": [...], ...}."""
    return bool(content) and isinstance(content[0], dict) and {"preds", "image_paths"} <= content[0].keys()


def read_frames(path: Path, content: list[Any], given: float | None, threshold: float) -> PoseFile:
    """Returns the poses of frames; the name of a frame's image is its number.

    given: the joint threshold of the user, or None.
    threshold: the joint threshold to use: `given` or the default.

    Raises InputError, which names the record, if the file is malformed.
    """
    found: dict[str, tuple[int | str, list[Instance]]] = {}
    with Remarks() as remarks:
        for frame in records(content, str(path)):
            number = frame.get("frame_id", int)
            if str(number) in found:
                raise InputError(f'{frame.where}: another frame has this "frame_id" too, {number}')
            instances = remarks.usable(frame.list_of_records("instances"), read_instance)
            found[str(number)] = number, instances
    return PoseFile(_poses(path, found, given, threshold), identifiers, threshold)


def read_batches(path: Path, content: list[Any], given: float | None, threshold: float) -> PoseFile:
    """Returns the poses of batches, by the paths of their images, as for annotations.

    A batch of a top-down model has one person for each of its images; a batch of a bottom-up model has all
    people of its single image. The score is that of the box or of the person. See `read_frames` for the
    arguments.
    """
    found: dict[str, tuple[int | str, list[Instance]]] = {}
    with Remarks() as remarks:
        for batch in records(content, str(path)):
            for image, record in _of_batch(batch):
                name = PurePosixPath(image).as_posix()  # without ./
                instances = found.setdefault(name, (image_id_of(Path(name)), []))[1]
                if record is not None:
                    instances += remarks.usable([record], read_instance)
    return PoseFile(_poses(path, found, given, threshold), trailing_paths, threshold)


def _of_batch(batch: Record) -> Iterator[tuple[str, Record | None]]:
    """Yields each image with one of its people, or with None if it has no people."""
    images, people = batch.get("image_paths", list), batch.get("preds", list)
    if not all(isinstance(image, str) for image in images):
        raise InputError(f'{batch.where}: "image_paths" must be strings, got {shown(images)}')
    if len(images) == 1:
        images = images * max(len(people), 1)
        if not people:
            yield images[0], None
    if people and len(images) != len(people):
        raise InputError(
            f'{batch.where}: "preds" must have as many entries as "image_paths", {len(images)}, '
            f"got {len(people)}"
        )
    scores = batch.content.get("scores")
    boxes = batch.content.get("boxes")
    for i, (image, joints) in enumerate(zip(images, people, strict=False)):
        content = {"keypoints": _without_tags(joints)}
        if isinstance(scores, list) and i < len(scores):
            content["score"] = scores[i]
        elif isinstance(boxes, list) and i < len(boxes) and isinstance(boxes[i], list) and boxes[i]:
            content["score"] = boxes[i][-1]  # after centre, scale and area
        yield image, Record(content, f"{batch.where}: preds[{i}]")


def _without_tags(joints: Any) -> Any:
    """Removes the numbers that associative embedding writes after the confidences of joints."""
    if not isinstance(joints, list):
        return joints
    return [joint[:3] if isinstance(joint, list) else joint for joint in joints]


def _poses(
    path: Path, found: dict[str, tuple[int | str, list[Instance]]], given: float | None, threshold: float
) -> dict[str, ImagePoses]:
    confidences = {
        confidence
        for _, instances in found.values()
        for instance in instances
        for confidence in instance.joints[:, 2].tolist()
    }
    require_scale(path, confidences, given, threshold)
    images = {}
    for key, (image_id, instances) in found.items():
        people = (instance.person(threshold) for instance in instances)
        images[key] = ImagePoses(image_id, None, [person for person in people if person is not None])
    return images
