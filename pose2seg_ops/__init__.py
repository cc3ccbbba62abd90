"""Handwritten CUDA and C++ kernels for pose-guided vision in PyTorch."""

from ._compatibility import check_extension

__version__ = "0.1.0"

check_extension()

from ._rle import RLE  # noqa: E402  (the extension loads only beside the torch it was built for)
from .affine_align import affine_align  # noqa: E402
from .align_with_skeleton import align_with_skeleton  # noqa: E402
from .coco import COCO_KEYPOINTS, COCO_LIMBS  # noqa: E402
from .encode_rle import encode_rle  # noqa: E402
from .fit_pose_templates import fit_pose_templates  # noqa: E402
from .letterbox import letterbox  # noqa: E402
from .paste_masks import paste_masks  # noqa: E402
from .paste_rle import paste_rle  # noqa: E402
from .skeleton_maps import skeleton_maps  # noqa: E402

__all__ = [
    "COCO_KEYPOINTS",
    "COCO_LIMBS",
    "RLE",
    "affine_align",
    "align_with_skeleton",
    "encode_rle",
    "fit_pose_templates",
    "letterbox",
    "paste_masks",
    "paste_rle",
    "skeleton_maps",
]
