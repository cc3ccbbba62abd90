from collections.abc import Sequence

import torch
from torch import Tensor

def affine_align(
    input: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    convention: str,
) -> Tensor: ...
def skeleton_maps(
    keypoints: Tensor,
    output_size: tuple[int, int],
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    stride: int,
    signed_visibility: bool,
    limb_overlap: str,
    dtype: torch.dtype | None,
) -> Tensor: ...
def align_with_skeleton(
    input: Tensor,
    keypoints: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    convention: str,
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    signed_visibility: bool,
) -> Tensor: ...
def fit_pose_templates(
    keypoints: Tensor,
    templates: Tensor,
    source_size: tuple[int, int],
    output_size: tuple[int, int],
    score: str,
) -> tuple[Tensor, Tensor, Tensor]: ...
def paste_masks(
    probabilities: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    image_sizes: Sequence[int],
    threshold: float,
) -> list[Tensor]: ...
def paste_rle(
    probabilities: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    image_sizes: Sequence[int],
    threshold: float,
) -> tuple[Tensor, Tensor]: ...
def encode_rle(masks: Tensor) -> tuple[Tensor, Tensor]: ...
def letterbox(
    images: Sequence[Tensor],
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
    channels_last: bool,
) -> tuple[Tensor, Tensor]: ...
