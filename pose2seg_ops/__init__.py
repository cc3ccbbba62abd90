"""Handwritten CUDA and C++ kernels for pose-guided vision in PyTorch."""

from ._extension import CUDA_VERSION
from ._rle import RLE
from .affine_align import affine_align
from .align_with_skeleton import align_with_skeleton
from .coco import COCO_KEYPOINTS, COCO_LIMBS
from .encode_rle import encode_rle
from .fit_pose_templates import fit_pose_templates
from .letterbox import letterbox
from .paste_masks import paste_masks
from .paste_rle import paste_rle
from .roi_align import roi_align, roi_align_rotated
from .skeleton_maps import skeleton_maps

__version__ = "0.1.0"

__all__ = [
    "COCO_KEYPOINTS",
    "COCO_LIMBS",
    "CUDA_VERSION",
    "RLE",
    "affine_align",
    "align_with_skeleton",
    "encode_rle",
    "fit_pose_templates",
    "letterbox",
    "paste_masks",
    "paste_rle",
    "roi_align",
    "roi_align_rotated",
    "skeleton_maps",
]
