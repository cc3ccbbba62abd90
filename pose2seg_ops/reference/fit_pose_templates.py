"""Pure-torch `fit_pose_templates`: every pose against every template at once, in float64."""

import math

import torch
from torch import Tensor


def fit_pose_templates(
    keypoints: Tensor,
    templates: Tensor,
    source_size: tuple[int, int],
    output_size: tuple[int, int],
    *,
    score: str = "overlap",
) -> tuple[Tensor, Tensor, Tensor]:
    """See `pose2seg_ops.fit_pose_templates`."""
    poses = keypoints.double()[:, None]
    targets = templates.double()[None]
    seen, known = poses[..., 2] > 0, targets[..., 2] > 0
    common = seen & known

    transforms, errors = _least_squares_similarity(poses[..., :2], targets[..., :2], common)
    count = common.sum(-1)
    if score == "overlap":
        agreement = torch.where(common, torch.exp(-errors / 2), 0.0).sum(-1) / (seen | known).sum(-1)
    elif score == "norm":
        agreement = torch.exp(-torch.where(common, errors, 0.0).sum(-1).sqrt())
    else:
        raise ValueError(f"score must be 'overlap' or 'norm', got {score!r}")

    height, width = output_size
    resize = min(height / source_size[0], width / source_size[1])
    scale = torch.hypot(transforms[..., 0], transforms[..., 1]) * math.sqrt(height * width)
    eligible = (count >= 3) & ~(seen & ~known).any(-1) & (agreement > 0) & (scale > resize)
    ranked = torch.where(eligible, agreement, 0.0)
    if len(templates) == 0:
        ranked = ranked.new_zeros(len(keypoints), 1)
        transforms = transforms.new_zeros(len(keypoints), 1, 4)
    best, index = ranked.max(-1)
    fitted = best > 0

    a, b, tx, ty = transforms.gather(1, index[:, None, None].expand(-1, 1, 4))[:, 0].unbind(-1)
    matrices = torch.stack((a * width, b * width, tx * width, -b * height, a * height, ty * height), -1)
    shift_x, shift_y = (width - resize * source_size[1]) / 2, (height - resize * source_size[0]) / 2
    letterbox = matrices.new_tensor([resize, 0, shift_x, 0, resize, shift_y])
    matrices = torch.where(fitted[:, None], matrices, letterbox).reshape(-1, 2, 3)
    return (
        matrices.to(keypoints.dtype),
        torch.where(fitted, index, -1),
        best.to(keypoints.dtype),
    )


def _least_squares_similarity(source: Tensor, target: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the best `[a b tx; -b a ty]` over the common joints, and the squared error of each joint."""
    weight = common[..., None].double()
    count = weight.sum(-2).clamp(min=1)
    source, target = (torch.where(common[..., None], points, 0.0) for points in (source, target))
    source_mean = (source * weight).sum(-2) / count
    target_mean = (target * weight).sum(-2) / count
    x, y = ((source - source_mean[..., None, :]) * weight).unbind(-1)
    u, v = ((target - target_mean[..., None, :]) * weight).unbind(-1)
    spread = (x * x + y * y).sum(-1)
    dot, cross = (x * u + y * v).sum(-1), (y * u - x * v).sum(-1)
    # If all joints coincide, a and b are undetermined; use the minimum-norm solution, as the SVD of the
    # original does.
    mx, my = source_mean.unbind(-1)
    size = mx * mx + my * my
    coincide = spread <= 1e-28 * count[..., 0] * size
    spread = torch.where(coincide, size + 1, spread)
    a = torch.where(coincide, mx * target_mean[..., 0] + my * target_mean[..., 1], dot) / spread
    b = torch.where(coincide, my * target_mean[..., 0] - mx * target_mean[..., 1], cross) / spread
    errors = (a[..., None] * x + b[..., None] * y - u) ** 2 + (a[..., None] * y - b[..., None] * x - v) ** 2
    tx = target_mean[..., 0] - a * mx - b * my
    ty = target_mean[..., 1] + b * mx - a * my
    return torch.stack((a, b, tx, ty), -1), errors
