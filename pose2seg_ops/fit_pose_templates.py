"""Fitting pose templates: finds which of a few typical poses a person is in, and the similarity to it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ._operator import Operator


def fit_pose_templates(
    keypoints: Tensor,
    templates: Tensor,
    source_size: Sequence[int],
    output_size: Sequence[int],
    *,
    score: str = "overlap",
) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the best template for every pose, with the least-squares similarity (no reflection) to it.

    A joint takes part if its visibility is above 0. A template fits a pose if they share at least three
    joints, the template has all visible joints of the pose, and the similarity magnifies by more than the
    letterbox resize from source to output. The highest score wins; of equal scores, the template with the
    lowest index. Arithmetic is float64.

    Args:
        keypoints: Poses (N, K, 3), float32 or float64; x, y, visibility, in the source frame. Under autocast
            also half precision, which is cast to float32; likewise for `templates`.
        templates: (T, K, 3), same dtype, x and y in the unit square.
        source_size: (h, w) of the frame of the keypoints.
        output_size: (h, w) that the unit square is mapped to.
        score: `"overlap"`, as in the code of Pose2Seg: the mean of `exp(-e^2 / 2)` over the common joints,
            where e is the remaining distance in the unit square, times common joints / joints in either.
            `"norm"`, as in its paper: `exp(-||H P - T||)` over the common joints.

    Returns:
        matrices (N, 2, 3), source -> output; index (N,) int64 of the template; score (N,). All three are on
        the device of `keypoints`; matrices and scores have its dtype. A pose that no template fits gets the
        letterbox resize, index -1 and score 0. If all joints of a pose coincide, the similarity is the one of
        minimum norm. Positions are squared, so no template fits a pose with positions above 1e150 or an
        extent below 1e-150.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, size or score is invalid.
        NotImplementedError: if an argument requires a gradient or carries a tangent, or the device is neither
            cpu nor cuda.

    Source: Pose2Seg (Zhang et al., CVPR 2019, section 3.2).
    """
    return _fit_pose_templates(keypoints, templates, source_size, output_size, score)


def _fake(
    keypoints: Tensor, templates: Tensor, source_size: Sequence[int], output_size: Sequence[int], score: str
) -> tuple[Tensor, Tensor, Tensor]:
    poses = keypoints.shape[0]
    index = keypoints.new_empty(poses, dtype=torch.int64)
    return keypoints.new_empty(poses, 2, 3), index, keypoints.new_empty(poses)


_fit_pose_templates = Operator(
    "fit_pose_templates(Tensor keypoints, Tensor templates, SymInt[2] source_size, SymInt[2] output_size, "
    "str score) -> (Tensor, Tensor, Tensor)",
    _fake,
    geometry=("keypoints", "templates"),
    differentiable=("keypoints", "templates"),
)
