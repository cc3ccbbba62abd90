"""How well a model's masks meet the annotated ones."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from tqdm import tqdm

from pose2seg import distributed
from pose2seg.average_precision import AveragePrecision, ScoredMask, average_precision
from pose2seg.dataset import DatasetWarning, PersonImage
from pose2seg.errors import InputError
from pose2seg.files import shown
from pose2seg.gone import problem_with
from pose2seg.model import Pose2Seg
from pose2seg.photographs import names_instead, tell_other_folders
from pose2seg.poses import ImagePoses, Person, PoseFile, PoseSource, unit_problem
from pose2seg_ops import RLE

Poses = Mapping[int | str, ImagePoses]


class ImageEvaluation(NamedTuple):
    """The masks of one image.

    poses, masks: what was predicted, and from which poses.
    f1: 2 matches / (people + predictions), mean over COCO's IoU thresholds; see `average_precision`.
    ious: of each person's mask with the annotated one; none where the poses are not the annotated ones.
    """

    image: PersonImage
    poses: ImagePoses
    masks: list[RLE]
    f1: float
    ious: list[float]

    @property
    def mean_iou(self) -> float:
        """nan without `ious`."""
        return _mean(self.ious)


class Evaluation(NamedTuple):
    """The scores of a model, and the images that they are made of.

    precision: COCO's average precision of masks.
    mean_iou: of everybody's mask with the annotated one; nan where the poses are not the annotated ones.
    images: in the order given, without those that could not be read.
    """

    precision: AveragePrecision
    mean_iou: float
    images: list[ImageEvaluation]

    @property
    def scores(self) -> dict[str, float]:
        """ap, ap50, ap75, ap_small, ap_medium, ap_large and mean_iou, by these names."""
        return {**self.precision._asdict(), "mean_iou": self.mean_iou}

    def worst_first(self) -> list[ImageEvaluation]:
        """The images, those with the lowest F1 first, and of those with the lowest mean IoU."""
        return sorted(self.images, key=lambda image: (image.f1, image.mean_iou))


def evaluate(
    model: Pose2Seg,
    images: Sequence[PersonImage],
    *,
    poses: Poses | None = None,
    batch_size: int = 4,
    progress: bool = False,
) -> Evaluation:
    """Predict everybody's mask, and compare the masks with the annotated ones.

    This is the protocol of Pose2Seg (Zhang et al., CVPR 2019) for COCOPersons and OCHuman: the people who
    count are those with a pose and a mask, as `read_dataset` gives them. Nobody else is there, not even to
    be ignored. A mask has the score of its pose, which is 1 for an annotated one.

    model: in evaluation mode, on any device.
    poses: to predict from, by image id; an image that is not in it has none. By default the annotated ones.
    batch_size: images that go through the network at once.
    progress: whether to show a bar, where the standard error is a terminal.

    An image that cannot be read is left out with a DatasetWarning. Under torchrun, in a
    `distributed.joined` block, the processes share the batches, and all return the same as one process.

    Raises InputError if no image can be read, GoneError if one cannot that `read_dataset` had found,
    ValueError without images, and RuntimeError in training mode.
    """
    if not images:
        raise ValueError("images must hold at least one image, got none")
    used = [_annotated_poses(image) if poses is None else _poses_of(image, poses) for image in images]
    parts = distributed.gather(_predict_share(model, images, used, batch_size, progress))
    masks = {i: of_image for part in parts for i, of_image in part.masks.items()}
    for _, problem in sorted(problem for part in parts for problem in part.problems.items()):
        warnings.warn(problem, DatasetWarning, stacklevel=2)
    if not masks:
        raise InputError(f"none of the {len(images)} images can be read, such as {images[0].path}")
    read = sorted(masks)
    precision, f1 = average_precision(
        [images[i] for i in read],
        [
            [ScoredMask(mask, person.score) for mask, person in zip(masks[i], used[i].people, strict=True)]
            for i in read
        ],
    )
    rows = [
        ImageEvaluation(
            images[i], used[i], masks[i], f1_of_image, _ious(images[i], masks[i]) if poses is None else []
        )
        for i, f1_of_image in zip(read, f1, strict=True)
    ]
    return Evaluation(precision, _mean([iou for row in rows for iou in row.ious]), rows)


def match_poses(source: PoseSource, images: Sequence[PersonImage]) -> dict[int | str, ImagePoses]:
    """The poses of a file or folder for `evaluate`, by image id.

    In a file an image is found by its id; in one that has none of the ids, and in a folder, by its path, as
    `PoseSource.find` does; if that finds none, by the name alone, with a DatasetWarning. Poses that are not
    in the pixels of their image (`unit_problem`) get one, too.

    Raises InputError if none of the images is found, if the poses are for an image of another size, and if
    no poses are in the pixels of their image.
    """
    listed = source.images.values() if isinstance(source, PoseFile) else ()
    by_id = {poses.image_id: poses for poses in listed}
    matches = [(image, by_id.get(image.image_id)) for image in images]
    if all(poses is None for _, poses in matches):
        matches = [(image, source.find(image.path)) for image in images]
    if all(poses is None for _, poses in matches) and isinstance(source, PoseFile):
        alone = source.without_folders()
        matches = [(image, alone.find(image.path)) for image in images]
        tell_other_folders([image.path for image, poses in matches if poses is not None])
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
    for problem in problems:
        warnings.warn(problem, DatasetWarning, stacklevel=2)
    return {image.image_id: poses for image, poses in found}


class _Share(NamedTuple):
    """What one process has predicted: masks, or why there are none, by the number of the image."""

    masks: dict[int, list[RLE]]
    problems: dict[int, str]


def _predict_share(
    model: Pose2Seg,
    images: Sequence[PersonImage],
    poses: Sequence[ImagePoses],
    batch_size: int,
    progress: bool,
) -> _Share:
    """Every process has the same batches as a single one would have, so that the masks are the same bits."""
    share = _Share({}, {})
    everything = range(len(images))
    batches = [everything[start : start + batch_size] for start in range(0, len(images), batch_size)]
    mine = batches[distributed.rank() :: distributed.count()]
    hidden = None if progress and distributed.rank() == 0 else True
    with tqdm(total=sum(map(len, mine)), desc="evaluate", unit="image", disable=hidden) as bar:
        for batch in mine:
            photographs: dict[int, npt.NDArray[np.uint8]] = {}
            for i in batch:
                try:
                    photographs[i] = images[i].read()
                except (InputError, OSError) as error:
                    problem = problem_with(images[i].path, images[i].version, error)
                    share.problems[i] = f"{problem}; image {shown(images[i].image_id)} is left out"
            if photographs:
                keypoints = [poses[i].keypoints for i in photographs]
                masks = model.predict_rle(list(photographs.values()), keypoints)
                share.masks.update(zip(photographs, masks, strict=True))
            bar.update(len(batch))
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
