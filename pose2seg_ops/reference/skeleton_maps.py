"""Pure-torch `skeleton_maps`: a formula per pixel, all joints and limbs of a person at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..coco import COCO_LIMBS

# Where a confidence map is cut: d^2 / (2 sigma^2) < 4.6025, that is, above about 0.01.
CONFIDENCE_CUTOFF = 4.6025


def skeleton_maps(
    keypoints: Tensor,
    output_size: tuple[int, int],
    *,
    limbs: Sequence[tuple[int, int]] = COCO_LIMBS,
    sigma: float = 3.0,
    limb_width: float = 1.0,
    stride: int = 1,
    signed_visibility: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """See `pose2seg_ops.skeleton_maps`."""
    people = keypoints[:, None] if keypoints.dim() == 3 else keypoints
    height, width = output_size
    rows = torch.arange(height, dtype=people.dtype, device=people.device)[:, None]
    columns = torch.arange(width, dtype=people.dtype, device=people.device)
    confidence = people.new_zeros(len(people), people.shape[2], height, width)
    fields = people.new_zeros(len(people), len(limbs), 2, height, width)
    limb_index = torch.tensor(limbs, dtype=torch.long, device=people.device).reshape(-1, 2)
    for person in people.unbind(1):
        confidence = _draw_joints(confidence, person, rows, columns, sigma, stride, signed_visibility)
        fields = _draw_limbs(fields, person, limb_index, rows, columns, limb_width, stride)
    return torch.cat((confidence, fields.flatten(1, 2)), 1).to(dtype or keypoints.dtype)


def _draw_joints(
    maps: Tensor, person: Tensor, rows: Tensor, columns: Tensor, sigma: float, stride: int, signed: bool
) -> Tensor:
    x, y, visibility = (value[..., None, None] for value in person.unbind(-1))
    offset = stride / 2 - 0.5
    exponent = ((columns * stride + offset - x) ** 2 + (rows * stride + offset - y) ** 2) / (
        2 * sigma * sigma
    )
    region = (exponent < CONFIDENCE_CUTOFF) & (visibility > 0)
    drawn = torch.maximum(maps, torch.exp(-exponent))
    if signed:
        drawn = torch.where(visibility == 1, -drawn, drawn)
    return torch.where(region, drawn, maps)


def _draw_limbs(
    fields: Tensor,
    person: Tensor,
    limbs: Tensor,
    rows: Tensor,
    columns: Tensor,
    limb_width: float,
    stride: int,
) -> Tensor:
    height, width = fields.shape[-2:]
    ends = person[:, limbs]  # (N, L, 2, 3)
    x, y = ends[..., 0] / stride, ends[..., 1] / stride
    length = torch.hypot(x[..., 1] - x[..., 0], y[..., 1] - y[..., 0])
    drawn = (ends[..., 2] > 0).all(-1) & (length > 0) & length.isfinite()
    unit = torch.stack((x[..., 1] - x[..., 0], y[..., 1] - y[..., 0]), -1) / length[..., None]
    unit = torch.where(drawn[..., None], unit, 0.0)[..., None, None]
    left, right = _span(x, limb_width, width)
    top, bottom = _span(y, limb_width, height)
    box = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
    to_pixel_x, to_pixel_y = columns - x[..., 0, None, None], rows - y[..., 0, None, None]
    distance = (to_pixel_x * unit[:, :, 1] - to_pixel_y * unit[:, :, 0]).abs()
    region = drawn[..., None, None] & box & (distance < limb_width)
    return torch.where(region[:, :, None], unit, fields)


def _span(ends: Tensor, limb_width: float, extent: int) -> tuple[Tensor, Tensor]:
    """First and past-the-last cell of a limb's box along one axis, (N, L, 1, 1); half rounds to even."""
    first = (ends.amin(-1) - limb_width).round().clamp(min=0)
    last = (ends.amax(-1) + limb_width).round().clamp(max=extent)
    return first[..., None, None], last[..., None, None]
