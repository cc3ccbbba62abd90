"""Measures how the confidence threshold of joints changes AP, for simulated detectors.

    python tools/joint_threshold.py ANNOTATIONS FOLDER

Prints the tables of docs/model_card.md. A simulated detector returns all 17 joints of a person: annotated
joints near their position, and the others where the best template has them. Position errors are drawn from a
normal distribution whose standard deviations are those of human annotators in COCO (its OKS); confidences are
drawn from a beta distribution. As with real detectors, visible joints have higher confidences than occluded
ones, and these have higher confidences than guesses.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pose2seg import load_model
from pose2seg.data.dataset import PersonImage, PersonMask, read_dataset
from pose2seg.data.poses import ImagePoses, Person
from pose2seg.data.poses.joints import Joints, from_confidences, from_flags
from pose2seg.evaluation.evaluate import evaluate
from pose2seg.network.model import Pose2Seg

from pose2seg_ops import fit_pose_templates

# The standard deviation per joint, relative to the square root of the person's area, as in the COCO API.
_FACE, _ARMS, _LEGS = (0.026, 0.025, 0.025, 0.035, 0.035), (0.079, 0.072, 0.062), (0.107, 0.087, 0.089)
_DEVIATIONS = np.array([*_FACE, *np.repeat(_ARMS, 2), *np.repeat(_LEGS, 2)])

_THRESHOLDS = (0.01, 0.3, 0.4, 0.5, 0.6, 0.7)


class Detector(NamedTuple):
    """The beta distributions of the confidences of visible, occluded and guessed joints."""

    visible: tuple[float, float]
    occluded: tuple[float, float]
    guessed: tuple[float, float]


_ERRORS = (0.5, 1.5, 2.0)  # errors of visible, occluded and guessed joints, in units of the deviations above

DETECTORS = {
    "usual": Detector((8.5, 1.5), (3, 2), (1, 4)),
    "unsure": Detector((4, 2), (2.5, 2.5), (1.5, 3)),
    "sure": Detector((9.5, 0.5), (6, 4), (1.5, 3.5)),
}


def detect(detector: Detector, person: PersonMask, model: Pose2Seg, rng: np.random.Generator) -> Joints:
    """Returns (17, 3): x, y and confidence."""
    joints = person.keypoints.astype(np.float64)
    kinds = [joints[:, 2] == 2, joints[:, 2] == 1, joints[:, 2] == 0]
    positions = np.where(kinds[2][:, None], _guess(person.keypoints, model), joints[:, :2])
    spread = np.select(kinds, _ERRORS) * _DEVIATIONS * np.sqrt(person.area)
    positions += rng.normal(size=(17, 2)) * spread[:, None]
    confidences = np.select(kinds, [rng.beta(*parameters, 17) for parameters in detector])
    return np.column_stack([positions, confidences]).astype(np.float32)


def _guess(keypoints: Joints, model: Pose2Seg) -> npt.NDArray[np.float64]:
    """Returns the 17 joints of the best template, or the mean of the known joints if none fits."""
    pose = torch.from_numpy(keypoints)[None].double()
    matrices, index, _ = fit_pose_templates(pose, model.templates.double(), (2**20, 2**20), (1, 1))
    best = int(index.item())
    if best < 0:
        return np.broadcast_to(keypoints[keypoints[:, 2] > 0, :2].mean(axis=0), (17, 2))
    to_template = matrices[0].numpy()
    template = model.templates[best, :, :2].double().numpy()
    return np.linalg.solve(to_template[:, :2], (template - to_template[:, 2]).T).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    options = parser.parse_args()
    images, model = read_dataset(options.annotations, options.images), load_model()

    def score(pose_of: Callable[[PersonMask], Joints]) -> str:
        return f"{_average_precision(model, images, pose_of):.3f}"

    print("| annotated joints | AP |\n| --- | --- |")
    print(f"| with their flags | {score(lambda person: person.keypoints)} |")
    print(f"| occluded ones missing | {score(_without_occluded)} |")
    print(f"| all visible, as at a confidence of 0.87 | {score(_all_visible)} |")
    print("\n| threshold | " + " | ".join(DETECTORS) + " |\n" + "| --- " * (1 + len(DETECTORS)) + "|")
    for threshold in _THRESHOLDS:
        row = [score(_detected(detector, model, threshold)) for detector in DETECTORS.values()]
        print(f"| {threshold:g} | " + " | ".join(row) + " |", flush=True)


def _average_precision(
    model: Pose2Seg, images: list[PersonImage], pose_of: Callable[[PersonMask], Joints]
) -> Any:
    poses = {
        image.image_id: ImagePoses(
            image.image_id, people=[Person(pose_of(person)) for person in image.people]
        )
        for image in images
    }
    return evaluate(model, images, poses=poses).precision.ap


def _without_occluded(person: PersonMask) -> Joints:
    return np.where(person.keypoints[:, 2:] == 2, person.keypoints, 0).astype(np.float32)


def _all_visible(person: PersonMask) -> Joints:
    return from_flags(person.keypoints, ones_are_visible=True)


def _detected(detector: Detector, model: Pose2Seg, threshold: float) -> Callable[[PersonMask], Joints]:
    """Returns the simulated joints of a person; they do not depend on the threshold."""
    rng = np.random.default_rng(0)
    return lambda person: from_confidences(detect(detector, person, model, rng), threshold)


if __name__ == "__main__":
    main()
