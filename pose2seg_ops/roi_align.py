"""RoIAlign for boxes and for rotated boxes, as windows of `affine_align`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ._arguments import as_size
from .affine_align import affine_align


def roi_align(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Averages bilinear samples in the cells of boxes, with the arguments of `torchvision.ops.roi_align`.

    Unlike torchvision's, it is differentiable with respect to the boxes as well, keeps channels_last, and
    takes bfloat16 on the CPU. All gradients have the same bits on every run.

    Args:
        input: Features (B, C, H, W), as for `affine_align`.
        boxes: (K, 5), each the index of an image and x1, y1, x2, y2; or a list of (L, 4), one for each image.
            float64 if the input is float64, otherwise float32; half precision is converted.
        output_size: (h, w), or the side of square windows.
        spatial_scale: The factor from the coordinates of boxes to those of the input.
        sampling_ratio: Samples along each side of a cell; with 0 or less, they are at most one pixel apart.
        aligned: Whether the centre of the first pixel is at (0.5, 0.5), as it should be. Otherwise it is at
            (0, 0), and boxes are at least one pixel wide and high.

    Returns:
        (K, C, h, w), with the dtype, device and memory format of `input`.

    Raises:
        ValueError, TypeError: if `boxes` has another shape or type, and as `affine_align`.

    Source: Mask R-CNN (He et al., ICCV 2017).
    """
    index, corners = _separated(input, boxes)
    x1, y1, x2, y2 = (corners * spatial_scale - (0.5 if aligned else 0.0)).unbind(1)
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = width.clamp(min=1), height.clamp(min=1)
    if sampling_ratio <= 0:  # boxes without extent have no samples
        index = torch.where((width > 0) & (height > 0), index, -1)
    zeros = torch.zeros_like(x1)
    axes = torch.stack((width, zeros), 1), torch.stack((zeros, height), 1)
    return _align(input, index, torch.stack((x1, y1), 1), axes, output_size, sampling_ratio)


def roi_align_rotated(
    input: Tensor,
    boxes: Tensor,
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
    clockwise: bool = False,
    *,
    degrees: bool = False,
) -> Tensor:
    """Averages bilinear samples in the cells of rotated boxes, as `mmcv.ops.roi_align_rotated` does.

    The arguments are mmcv's as well. With `degrees=True` the result is that of
    `detectron2.layers.roi_align_rotated`. It is differentiable with respect to the boxes as well.

    Args:
        boxes: (K, 6), each the index of an image, the centre x and y, width, height and angle; dtypes as
            for `roi_align`. The angle is counterclockwise as displayed, with y pointing down.
        clockwise: Whether the angle is clockwise.
        degrees: Whether the angle is in degrees; otherwise it is in radians.
        input, output_size, spatial_scale, sampling_ratio, aligned: see `roi_align`.

    Returns and raises: see `roi_align`.

    Source: detectron2 (Wu et al., 2019) and mmcv.
    """
    if not isinstance(boxes, Tensor):
        raise TypeError(f"boxes must be a tensor, got {type(boxes).__name__}")
    if boxes.ndim != 2 or boxes.shape[1] != 6:
        raise ValueError(f"boxes must be (K, 6), got {tuple(boxes.shape)}")
    boxes = _geometry(input, boxes)
    centre = boxes[:, 1:3] * spatial_scale - (0.5 if aligned else 0.0)
    size, angle = boxes[:, 3:5] * spatial_scale, boxes[:, 5]
    if not aligned:
        size = size.clamp(min=1)
    index = boxes[:, 0].long()
    if sampling_ratio <= 0:
        index = torch.where((size > 0).all(1), index, -1)
    angle = (angle.deg2rad() if degrees else angle) * (-1 if clockwise else 1)
    cos, sin = angle.cos(), angle.sin()
    across = size[:, :1] * torch.stack((cos, -sin), 1)
    down = size[:, 1:] * torch.stack((sin, cos), 1)
    corner = centre - (across + down) / 2
    return _align(input, index, corner, (across, down), output_size, sampling_ratio)


def _align(
    input: Tensor,
    index: Tensor,
    corner: Tensor,
    axes: tuple[Tensor, Tensor],
    output_size: int | Sequence[int],
    sampling_ratio: int,
) -> Tensor:
    """Samples boxes (K,) from their upper left corners, and their upper and left sides, each (K, 2)."""
    size = (output_size, output_size) if isinstance(output_size, int) else output_size
    height, width = as_size(size, "output_size")
    across, down = axes[0] / width, axes[1] / height  # the sides of a cell
    matrices = torch.stack((across, down, corner + (across + down) / 2), -1)
    return affine_align(
        input,
        matrices,
        index,
        (height, width),
        convention="inverse",
        sampling_ratio=max(sampling_ratio, 0),
        padding_mode="roi_align",
    )


def _separated(input: Tensor, boxes: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the image indices (K,) and the corners (K, 4) of boxes in either form."""
    if isinstance(boxes, Tensor):
        if boxes.ndim != 2 or boxes.shape[1] != 5:
            raise ValueError(f"boxes must be (K, 5), or a list of (L, 4), got {tuple(boxes.shape)}")
        boxes = _geometry(input, boxes)
        return boxes[:, 0].long(), boxes[:, 1:]
    for i, of_image in enumerate(boxes):
        if not isinstance(of_image, Tensor) or of_image.ndim != 2 or of_image.shape[1] != 4:
            got = tuple(of_image.shape) if isinstance(of_image, Tensor) else type(of_image).__name__
            raise ValueError(f"boxes must be (K, 5), or a list of (L, 4), got {got} at {i}")
    if not boxes:
        return torch.empty(0, dtype=torch.int64, device=input.device), _geometry(input, input.new_empty(0, 4))
    index = [of_image.new_full((len(of_image),), i, dtype=torch.int64) for i, of_image in enumerate(boxes)]
    return torch.cat(index), _geometry(input, torch.cat(list(boxes)))


def _geometry(input: Tensor, boxes: Tensor) -> Tensor:
    """Converts boxes to the dtype of matrices."""
    if not isinstance(input, Tensor):
        raise TypeError(f"input must be a tensor, got {type(input).__name__}")
    if boxes.device != input.device:
        raise ValueError(f"boxes must be on {input.device} as input is, got {boxes.device}")
    return boxes.to(torch.float64 if input.dtype == torch.float64 else torch.float32)
