"""The ops in plain PyTorch: the oracle of the tests and the baseline of the benchmarks.

The signatures are those of `pose2seg_ops`. Nothing here is fast; everything runs on any device and,
where the op has a gradient, through autograd.
"""

from .affine_align import affine_align
from .align_with_skeleton import align_with_skeleton
from .encode_rle import encode_rle
from .fit_pose_templates import fit_pose_templates
from .letterbox import letterbox
from .paste_masks import paste_masks
from .paste_rle import paste_rle
from .skeleton_maps import skeleton_maps

__all__ = [
    "affine_align",
    "align_with_skeleton",
    "encode_rle",
    "fit_pose_templates",
    "letterbox",
    "paste_masks",
    "paste_rle",
    "skeleton_maps",
]
