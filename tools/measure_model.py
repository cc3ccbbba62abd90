"""Measures a model with disturbed poses and on overlapping people, and its calibration.

    python tools/measure_model.py ANNOTATIONS FOLDER [--weights FILE] [--flip]

Prints the tables of docs/model_card.md. In a disturbed pose, every joint is moved by a normally distributed
error of 0.03 times the person's size, which is the root of the box's area; a fifth of the joints are missing;
and for a tenth of the people one joint is at a random position in the box. The columns "ranked" are average
precisions with masks that are ranked by their estimated qualities (`pose2seg evaluate --rank-by quality`).
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pose2seg import BUNDLED_WEIGHTS, Pose2Seg, load_model
from pose2seg.data.dataset import PersonImage, PersonMask, read_dataset
from pose2seg.data.poses import ImagePoses, Person
from pose2seg.data.poses.joints import Joints
from pose2seg.evaluation.average_precision import ScoredMask, average_precision
from pose2seg.evaluation.evaluate import Evaluation, evaluate
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.geometry import compose
from pose2seg.network.model import ALIGN_SIZE, INPUT_SIZE
from pycocotools import mask as coco_mask
from torch import Tensor

from pose2seg_ops import RLE, affine_align, letterbox
from pose2seg_ops.keypoints import transform_keypoints

_ERROR, _MISSING, _MADE_UP = 0.03, 0.2, 0.1
_OVERLAP = 0.3  # the IoU of boxes, above which two people count as a pair
_BINS = 10


def disturbed(person: PersonMask, rng: np.random.Generator) -> Joints:
    """Returns a disturbed pose with the annotated visibilities; it keeps at least one joint."""
    x, y, width, height = person.box
    joints = person.keypoints.copy()
    joints[:, :2] += rng.normal(0, _ERROR * math.sqrt(width * height), (17, 2))
    missing = rng.random(17) < _MISSING
    if (joints[~missing, 2] > 0).any():
        joints[missing] = 0
    joints[joints[:, 2] == 0] = 0
    if rng.random() < _MADE_UP:
        joints[rng.integers(17)] = (rng.uniform(x, x + width), rng.uniform(y, y + height), 2)
    return joints


def disturbed_poses(images: list[PersonImage]) -> dict[int | str, ImagePoses]:
    """Returns the disturbed poses of all images, which are the same for every model."""
    rng = np.random.default_rng(0)
    return {
        image.image_id: ImagePoses(
            image.image_id, people=[Person(disturbed(person, rng)) for person in image.people]
        )
        for image in images
    }


def overlapping(image: PersonImage) -> list[int]:
    """Returns the people whose box has an IoU above `_OVERLAP` with that of another person."""
    ious = coco_mask.iou(*[np.array([person.box for person in image.people])] * 2, [0] * len(image.people))
    pairs = (pair for pair in combinations(range(len(image.people)), 2) if ious[pair] > _OVERLAP)
    return sorted({person for pair in pairs for person in pair})


class Masks(NamedTuple):
    """The masks of some people of an image, and their estimated qualities."""

    image: PersonImage
    masks: list[RLE]
    qualities: list[float]


def row(name: str, images: list[Masks]) -> str:
    """Returns a row of a table: the scores of masks, one for each person."""
    annotated = [each.image for each in images]
    equal = [[ScoredMask(mask, 1.0) for mask in each.masks] for each in images]
    by_quality = [list(map(ScoredMask, each.masks, each.qualities)) for each in images]
    precision, _ = average_precision(annotated, equal)
    ranked, _ = average_precision(annotated, by_quality)
    ious = [
        coco_mask.iou([mask], [person.segmentation], [0]).item()
        for each in images
        for person, mask in zip(each.image.people, each.masks, strict=True)
    ]
    numbers = [*precision[:3], *precision[4:], np.mean(ious), *ranked[:3:2]]
    return f"| {name} | {len(ious)} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |"


def overlap_row(name: str, evaluation: Evaluation) -> str:
    """Returns the row of the people who overlap others; the masks were predicted with all people."""
    kept = []
    for each in evaluation.images:
        people = overlapping(each.image)
        if people:
            image = replace(each.image, people=[each.image.people[i] for i in people])
            kept.append(Masks(image, [each.masks[i] for i in people], [each.qualities[i] for i in people]))
    return row(name, kept)


@torch.inference_mode()
def probabilities(model: Pose2Seg, images: list[PersonImage]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields, for each image, the probability of each pixel in the crops, and whether it is the person's."""
    for image in images:
        inputs, to_input = letterbox(
            [torch.from_numpy(image.read())], INPUT_SIZE, IMAGENET_MEAN, IMAGENET_STD
        )
        to_input = to_input.float().expand(len(image.people), 2, 3)
        poses = transform_keypoints(torch.from_numpy(image.keypoints), to_input)
        logits, matrices = model(inputs, poses, torch.zeros(len(poses), dtype=torch.int64))
        masks = torch.from_numpy(image.masks)[:, None].float()
        each = torch.arange(len(masks))
        targets = affine_align(masks, compose(matrices, to_input), each, ALIGN_SIZE)
        yield logits.softmax(1)[:, 1], targets[:, 0] > 0.5


def print_calibration(model: Pose2Seg, images: list[PersonImage]) -> None:
    """Prints the share of pixels that belong to the person, by the probability that the network predicts."""
    predicted, true = (
        torch.cat([part.flatten() for part in parts])
        for parts in zip(*probabilities(model, images), strict=True)
    )
    bins = (predicted * _BINS).long().clamp(max=_BINS - 1)
    print("\n| probability | pixels | mean | belong to the person |\n| --- | --- | --- | --- |")
    for i in range(_BINS):
        here = bins == i
        share, mean, found = here.float().mean(), predicted[here].mean(), true[here].float().mean()
        print(f"| {i / _BINS:.1f} to {(i + 1) / _BINS:.1f} | {share:.1%} | {mean:.3f} | {found:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS)
    parser.add_argument("--flip", action="store_true", help="average with the mirrored images")
    options = parser.parse_args()
    images, model = read_dataset(options.annotations, options.images), load_model(options.weights)
    model.flip = options.flip
    print("| poses | people | AP | AP50 | AP75 | AP medium | AP large | mean IoU | AP ranked | AP75 ranked |")
    print("| --- " * 10 + "|")
    for name, poses in (("annotated", None), ("disturbed", disturbed_poses(images))):
        evaluation = evaluate(model, images, poses=poses)
        everybody = [Masks(each.image, each.masks, each.qualities) for each in evaluation.images]
        print(row(name, everybody), flush=True)
        print(overlap_row(f"{name}, people who overlap", evaluation), flush=True)
    print_calibration(model, images)


if __name__ == "__main__":
    main()
