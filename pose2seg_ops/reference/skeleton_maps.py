"""Pure-torch `skeleton_maps`: evaluates a formula per pixel, for all joints and limbs of a person at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..coco import COCO_LIMBS

# The cutoff of a confidence map: d^2 / (2 sigma^2) < 4.6025, which keeps values above about 0.01.
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
    limb_overlap: str = "last",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """See `pose2seg_ops.skeleton_maps`."""
    if limb_overlap not in ("last", "mean"):
        raise ValueError(f"limb_overlap must be 'last' or 'mean', got {limb_overlap!r}")
    people = keypoints[:, None] if keypoints.dim() == 3 else keypoints
    instances, _, joints, _ = people.shape
    height, width = output_size
    rows = torch.arange(height, dtype=people.dtype, device=people.device)[:, None]
    columns = torch.arange(width, dtype=people.dtype, device=people.device)
    confidence = people.new_zeros(instances, joints, height, width)
    fields = people.new_zeros(instances, len(limbs), 2, height, width)
    covering = people.new_zeros(instances, len(limbs), 1, height, width)
    limb_index = torch.tensor(limbs, dtype=torch.long, device=people.device).reshape(-1, 2)
    for person in people.unbind(1):
        confidence = _draw_joints(confidence, person, rows, columns, sigma, stride, signed_visibility)
        unit, region = _limb_fields(person, limb_index, rows, columns, limb_width, stride)
        before = fields if limb_overlap == "mean" else 0.0
        fields = torch.where(region, before + unit, fields)
        covering = covering + region
    if limb_overlap == "mean":
        fields = fields / covering.clamp(min=1)
    return torch.cat((confidence, fields.flatten(1, 2)), 1).to(dtype or keypoints.dtype)


def _draw_joints(
    maps: Tensor, person: Tensor, rows: Tensor, columns: Tensor, sigma: float, stride: int, signed: bool
) -> Tensor:
    usable = (person[..., 2] > 0) & person[..., :2].square().isfinite().all(-1)
    # Joints that cannot be drawn are moved to 0, where no gradient becomes NaN.
    x, y = (torch.where(usable, value, 0.0)[..., None, None] for value in (person[..., 0], person[..., 1]))
    usable, occluded = usable[..., None, None], (person[..., 2] == 1)[..., None, None]
    offset = stride / 2 - 0.5
    distance2 = (columns * stride + offset - x) ** 2 + (rows * stride + offset - y) ** 2
    # Bounded, so that a joint at the centre of a cell has confidence 1 there, however small sigma is.
    exponent = distance2 * min(0.5 / sigma / sigma, 2.0**100)
    region = usable & (exponent < CONFIDENCE_CUTOFF)
    drawn = torch.maximum(maps, torch.exp(-exponent))
    if signed:
        drawn = torch.where(occluded, -drawn, drawn)
    return torch.where(region, drawn, maps)


def _limb_fields(
    person: Tensor, limbs: Tensor, rows: Tensor, columns: Tensor, limb_width: float, stride: int
) -> tuple[Tensor, Tensor]:
    """Returns the unit vectors (N, L, 2, 1, 1) of the limbs of one person, and the cells (N, L, 1, h, w) that
    they cover."""
    height, width = rows.shape[0], columns.shape[0]
    ends = person[:, limbs]  # (N, L, 2, 3)
    x, y = ends[..., 0] / stride, ends[..., 1] / stride
    length = torch.hypot(x[..., 1] - x[..., 0], y[..., 1] - y[..., 0]).detach()
    drawn = (ends[..., 2] > 0).all(-1) & (length > 0) & length.isfinite()
    # Limbs that are not drawn get another direction, whose gradient is not NaN.
    along = torch.where(drawn, x[..., 1] - x[..., 0], 1.0), torch.where(drawn, y[..., 1] - y[..., 0], 0.0)
    moves = (1 / (length * stride)).isfinite()  # otherwise its ends are too close for a gradient
    along = torch.where(moves, along[0], along[0].detach()), torch.where(moves, along[1], along[1].detach())
    unit = (torch.stack(along, -1) / torch.hypot(*along)[..., None])[..., None, None]
    left, right = _span(x, limb_width, width)
    top, bottom = _span(y, limb_width, height)
    box = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
    to_pixel_x, to_pixel_y = columns - x[..., 0, None, None], rows - y[..., 0, None, None]
    distance = (to_pixel_x * unit[:, :, 1] - to_pixel_y * unit[:, :, 0]).abs()
    return unit, (drawn[..., None, None] & box & (distance < limb_width))[:, :, None]


def _span(ends: Tensor, limb_width: float, extent: int) -> tuple[Tensor, Tensor]:
    """Returns the first and the past-the-last cell of the boxes of limbs along one axis, (N, L, 1, 1)."""
    first = (ends.amin(-1) - limb_width).round().clamp(min=0)
    last = (ends.amax(-1) + limb_width).round().clamp(max=extent)
    return first[..., None, None], last[..., None, None]
