"""Clustering of poses into pose templates, by K-means."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pose2seg.common.errors import InputError
from pose2seg.common.records import read_json
from pose2seg.common.remarks import Remarks
from pose2seg.data.poses import annotations
from pose2seg.data.poses.annotations import without_crowds
from pose2seg.network.templates import MIRRORED
from pose2seg_ops import COCO_KEYPOINTS

Array = npt.NDArray[np.float64]


class PoseClusters(NamedTuple):
    """The k clusters, the largest first.

    means: (k, 17, 3) float64 x, y in the unit square and mean COCO visibility.
    sizes: (k,) int64, the number of poses in each cluster. Their sum is twice the number of people, because
        each pose is also mirrored.
    """

    means: Array
    sizes: npt.NDArray[np.int64]


def read_annotated_people(paths: Sequence[Path]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Reads the poses and the boxes of the people in COCO annotation files.

    Crowds and people without a labelled joint are left out. A record that cannot be used is left out with a
    DatasetWarning.

    Returns poses (n, 17, 3), x, y in pixels and COCO visibility, and boxes (n, 4), x, y, width and height in
    pixels. Raises InputError, which names the record, if a file is malformed or none of its records
    can be used, and OSError if it cannot be read.
    """
    poses: list[npt.NDArray[np.float32]] = []
    boxes: list[tuple[float, float, float, float]] = []
    for path in paths:
        file = annotations.annotation_file(path, read_json(path))
        with Remarks() as remarks:
            people = without_crowds(annotations.read_annotated_people(file, remarks), remarks)
            found = dict(remarks.usable((p.annotation for p in people), lambda a: (a.where, a.box("bbox"))))
        poses += [person.keypoints for person in people if person.annotation.where in found]
        boxes += found.values()
    shape = -1, len(COCO_KEYPOINTS), 3
    return np.array(poses, np.float32).reshape(shape), np.array(boxes, np.float32).reshape(-1, 4)


def cluster_poses(
    keypoints: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    count: int = 3,
    *,
    minimum_joints: int = 9,
    seed: int = 0,
) -> PoseClusters:
    """Clusters poses by K-means, as vectors of 17 x, y and visibility (Zhang et al., CVPR 2019).

    A pose is moved and scaled, with its aspect ratio kept, so that its box is centred in the unit square and
    fills its width or its height. Missing joints are set to (0.5, 0.5) with visibility 0. Every pose is also
    mirrored, with left and right joints swapped. Of ten starts, the one with the lowest inertia is used.

    keypoints: (n, 17, 3) x, y in pixels, COCO visibility 0, 1 or 2.
    boxes: (n, 4) x, y, width and height in pixels; width and height are above 0.
    count: the number of clusters, at least 1.
    minimum_joints: poses with fewer joints of visibility 1 or 2 are left out.
    seed: the seed of the starts; the same seed gives the same clusters.

    Raises InputError if fewer than `count` poses have `minimum_joints`, if fewer than `count` poses are
    distinct, or if scikit-learn cannot be imported.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        raise InputError(
            f"scikit-learn cannot be imported ({error}): pip install 'pose2seg_ops[train]'"
        ) from error

    enough = (keypoints[:, :, 2] > 0).sum(axis=1) >= minimum_joints
    if enough.sum() < count:
        raise InputError(
            f"{count} templates need at least {count} people with {minimum_joints} or more labelled joints, "
            f"got {enough.sum()}"
        )
    poses = _in_unit_square(keypoints[enough], boxes[enough])
    poses = np.concatenate([poses, _mirrored(poses)])
    # Run to convergence: with the default tolerance, the result would depend on the seed.
    k_means = KMeans(count, n_init=10, tol=0, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            clusters = k_means.fit(poses.reshape(len(poses), -1))
        except ConvergenceWarning as error:
            raise InputError(f"{count} templates need at least {count} different poses") from error
    sizes = np.bincount(clusters.labels_, minlength=count)
    largest_first = np.argsort(-sizes)
    means = clusters.cluster_centers_.reshape(count, *poses.shape[1:])
    return PoseClusters(means[largest_first], sizes[largest_first])


def _in_unit_square(keypoints: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32]) -> Array:
    poses = keypoints.astype(np.float64)
    corner, size = boxes[:, None, :2], boxes[:, None, 2:]
    poses[:, :, :2] = (poses[:, :, :2] - corner - size / 2) / size.max(axis=-1, keepdims=True) + 0.5
    poses[poses[:, :, 2] == 0] = (0.5, 0.5, 0)
    return poses


def _mirrored(poses: Array) -> Array:
    mirrored = poses[:, MIRRORED]
    mirrored[:, :, 0] = 1 - mirrored[:, :, 0]
    return mirrored
