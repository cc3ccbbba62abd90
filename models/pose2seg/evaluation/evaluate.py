"""Evaluation of a model on a dataset."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from pose2seg.common import distributed
from pose2seg.common.choices import MASK_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.common.gone import problem_with
from pose2seg.common.remarks import DatasetWarning, Remarks
from pose2seg.common.text import shown
from pose2seg.data.dataset import PersonImage
from pose2seg.data.posed_images import Content, names_instead, warn_of_other_folders
from pose2seg.data.poses import ImagePoses, Person, PoseFile, PoseFolder, unit_problem
from pose2seg.evaluation.average_precision import AveragePrecision, ScoredMask, average_precision
from pose2seg.network.model import Pose2Seg
from pose2seg.prediction.loop import Unread, predict_masks
from pose2seg.prediction.results import count_empty, warn_of_empty_masks
from pose2seg_ops import RLE

Poses = Mapping[int | str, ImagePoses]
RankBy = Literal["pose", "quality"]


class ImageEvaluation(NamedTuple):
    """The evaluation of one image.

    poses, masks: the poses, and the masks that were predicted from them.
    qualities: the estimated IoU of each mask, see `Probabilities.quality`.
    f1: 2 matches / (people + predictions), as the mean over COCO's IoU thresholds; see `average_precision`.
    ious: the IoU of each person's mask with the annotated one; empty if the poses are not the annotated ones.
    """

    image: PersonImage
    poses: ImagePoses
    masks: list[RLE]
    qualities: list[float]
    f1: float
    ious: list[float]

    @property
    def mean_iou(self) -> float:
        """The mean of `ious`; nan if there are none."""
        return _mean(self.ious)


class Evaluation(NamedTuple):
    """The scores of a model, and the evaluations of the images.

    precision: COCO's average precision of masks.
    mean_iou: the mean IoU of all people's masks with the annotated ones; nan if the poses are not the
        annotated ones.
    images: the evaluations in the order of the dataset, without images that could not be read.
    rank_by: what the average precision ranks masks by, see `evaluate`.
    """

    precision: AveragePrecision
    mean_iou: float
    images: list[ImageEvaluation]
    rank_by: RankBy

    @property
    def scores(self) -> dict[str, float]:
        """The scores by name: ap, ap50, ap75, ap_small, ap_medium, ap_large and mean_iou."""
        return {**self.precision._asdict(), "mean_iou": self.mean_iou}

    def worst_first(self) -> list[ImageEvaluation]:
        """Returns the images sorted by their F1 and then by their mean IoU, the lowest first."""
        return sorted(self.images, key=lambda image: (image.f1, image.mean_iou))


def evaluate(
    model: Pose2Seg,
    images: Sequence[PersonImage],
    *,
    poses: Poses | None = None,
    rank_by: RankBy = "pose",
    batch_size: int = 4,
    progress: bool = False,
) -> Evaluation:
    """Predicts the masks of all people, and compares them with the annotated ones.

    This is the protocol of Pose2Seg (Zhang et al., CVPR 2019) for COCOPersons and OCHuman: only people with a
    pose and a mask, as from `read_dataset`, are evaluated. Other people are not even ignored regions.

    model: a model in evaluation mode, on any device.
    poses: the poses to predict from, by image id; an image that is not in it has none. By default the
        annotated ones.
    rank_by: what the average precision ranks masks by. "pose", which is the protocol, is the score of the
        pose, and 1 for an annotated one. "quality" is its product with the quality of the mask
        (`Probabilities.quality`).
    batch_size: the number of images per batch.
    progress: whether to show a progress bar if the standard error is a terminal.

    An image that cannot be read is left out with a DatasetWarning; another one is given if most masks are
    empty. Under torchrun, in a `distributed.joined` block, the processes share the batches, and return the
    same as one process.

    Raises InputError if no image can be read, GoneError if an image is gone that `read_dataset` found,
    ValueError if there are no images, and RuntimeError in training mode.
    """
    if not images:
        raise ValueError("images must hold at least one image, got none")
    used = [_annotated_poses(image) if poses is None else _poses_of(image, poses) for image in images]
    parts = distributed.gather(_predict_share(model, images, used, batch_size, progress))
    masks = {i: of_image for part in parts for i, of_image in part.masks.items()}
    qualities = {i: of_image for part in parts for i, of_image in part.qualities.items()}
    for _, problem in sorted(problem for part in parts for problem in part.problems.items()):
        warnings.warn(problem, DatasetWarning, stacklevel=2)
    if not masks:
        raise InputError(f"none of the {len(images)} images can be read, such as {images[0].path}")
    read = sorted(masks)
    made = [mask for i in read for mask in masks[i]]
    warn_of_empty_masks(count_empty(made), len(made))
    precision, f1 = average_precision(
        [images[i] for i in read],
        [
            [
                ScoredMask(mask, person.score * (quality if rank_by == "quality" else 1))
                for mask, quality, person in zip(masks[i], qualities[i], used[i].people, strict=True)
            ]
            for i in read
        ],
    )
    rows = [
        ImageEvaluation(
            images[i],
            used[i],
            masks[i],
            qualities[i],
            f1_of_image,
            _ious(images[i], masks[i]) if poses is None else [],
        )
        for i, f1_of_image in zip(read, f1, strict=True)
    ]
    return Evaluation(precision, _mean([iou for row in rows for iou in row.ious]), rows, rank_by)


def match_poses(source: PoseFile | PoseFolder, images: Sequence[PersonImage]) -> dict[int | str, ImagePoses]:
    """Returns the poses of a file or folder for `evaluate`, by image id.

    In a file, the poses of an image are looked up by its id. In a folder, and in a file that has none of the
    ids, they are looked up by the path (`PoseSource.find`). If no path is found, they are looked up by the
    file name alone, with a DatasetWarning. There is also a DatasetWarning for images without poses, and for
    poses that are not in pixels (`unit_problem`).

    Raises InputError if there are no poses for any image, if poses are for an image of another size, and if
    none of the poses are in pixels.
    """
    listed = source.images.values() if isinstance(source, PoseFile) else ()
    by_id = {poses.image_id: poses for poses in listed}
    matches = [(image, by_id.get(image.image_id)) for image in images]
    if all(poses is None for _, poses in matches):
        matches = [(image, source.find(image.path, image.size)) for image in images]
    if all(poses is None for _, poses in matches) and isinstance(source, PoseFile):
        alone = source.without_folders()
        matches = [(image, alone.find(image.path, image.size)) for image in images]
        warn_of_other_folders([image.path for image, poses in matches if poses is not None])
    found = [(image, poses) for image, poses in matches if poses is not None]
    if not found:
        path, instead = images[0].path, names_instead(source)
        raise InputError(f"there are no poses for any of the {len(images)} images, such as {path}{instead}")
    for image, poses in found:
        if poses.size not in (None, image.size):
            raise InputError(
                f"{image.path}: is annotated as {image.size[1]} x {image.size[0]}, "
                f"but its poses are for {poses.size[1]} x {poses.size[0]}"
            )
    problems = [
        f"{image.path}: {problem}"
        for image, poses in found
        if (problem := unit_problem(poses.keypoints, image.size)) is not None
    ]
    if problems and len(problems) == sum(bool(poses.people) for _, poses in found):
        raise InputError(problems[0])
    with Remarks() as remarks:
        for problem in problems:
            remarks.add(problem, "not in pixels")
        for image in (image for image, poses in matches if poses is None):
            remarks.add(f"{image.path}: there are no poses for this image; nobody is found in it", "none")
    return {image.image_id: poses for image, poses in found}


class _Share(NamedTuple):
    """The predictions of one process: masks, or the reason for their absence, by the index of the image."""

    masks: dict[int, list[RLE]]
    qualities: dict[int, list[float]]
    problems: dict[int, str]


def _predict_share(
    model: Pose2Seg,
    images: Sequence[PersonImage],
    poses: Sequence[ImagePoses],
    batch_size: int,
    progress: bool,
) -> _Share:
    def read(i: int) -> Content | str:
        try:
            return Content(images[i].read(), poses[i])
        except (InputError, OSError) as error:
            return problem_with(images[i].path, images[i].version, error)

    share = _Share({}, {}, {})
    numbers = range(len(images))
    for batch in predict_masks(
        model,
        numbers,
        read,
        batch_size=batch_size,
        title="evaluate",
        threshold=MASK_THRESHOLD,
        progress=progress,
    ):
        for each in batch:
            if isinstance(each, Unread):
                share.problems[each.item] = (
                    f"{each.problem}; image {shown(images[each.item].image_id)} is left out"
                )
            else:
                share.masks[each.item] = each.masks
                share.qualities[each.item] = each.qualities
    return share


def _annotated_poses(image: PersonImage) -> ImagePoses:
    people = [Person(person.keypoints, annotation_id=person.annotation_id) for person in image.people]
    return ImagePoses(image.image_id, image.size, people)


def _poses_of(image: PersonImage, poses: Poses) -> ImagePoses:
    return replace(poses.get(image.image_id, ImagePoses(image.image_id)), image_id=image.image_id)


def _ious(image: PersonImage, masks: Sequence[RLE]) -> list[float]:
    return [
        float(coco_mask.iou([mask], [person.segmentation], [0]).item())
        for mask, person in zip(masks, image.people, strict=True)
    ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
