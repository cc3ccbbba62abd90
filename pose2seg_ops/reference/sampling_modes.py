"""Pure-torch sampling of projective windows with all modes of `affine_align`, by grid_sample."""

import torch
import torch.nn.functional as F
from torch import Tensor

_MAX_SAMPLING_RATIO = 64  # as in csrc/core/sampling.h
_PADDING = {"fill": "zeros", "roi_align": "border"}  # of grid_sample, where it has another name


def sample_windows(
    maps: Tensor,
    to_input: Tensor,
    output_size: tuple[int, int],
    sampling_ratio: int,
    interpolation: str,
    padding_mode: str,
    fill: float,
) -> Tensor:
    """Samples the own map of every instance (N, C, H, W) as windows (N, C, h, w).

    to_input: the transforms (N, 3, 3) from output pixels to pixels of the map, in homogeneous coordinates.
    """
    if sampling_ratio == 0:  # each window has its own numbers of samples
        windows = [
            _sample(
                one[None],
                m[None],
                output_size,
                _adaptive(m, output_size, one),
                interpolation,
                padding_mode,
                fill,
            )
            for one, m in zip(maps, to_input, strict=True)
        ]
        return torch.cat(windows) if windows else maps.new_empty(0, maps.shape[1], *output_size)
    ratios = (sampling_ratio, sampling_ratio)
    return _sample(maps, to_input, output_size, ratios, interpolation, padding_mode, fill)


def _adaptive(to_input: Tensor, output_size: tuple[int, int], image: Tensor) -> tuple[int, int]:
    """Returns the samples down and across an output pixel that are at most one pixel of the image apart."""
    centre = torch.tensor([(output_size[1] - 1) / 2, (output_size[0] - 1) / 2, 1], dtype=to_input.dtype)
    x, y, w = to_input.detach() @ centre.to(to_input.device)
    point = torch.stack((x / w, y / w))
    steps = (to_input[:2, :2].detach() - point[:, None] * to_input[2, :2].detach()) / w
    is_along_axis = (steps == 0).any(0)  # otherwise, rounding must not add a sample
    lengths = torch.where(is_along_axis, steps.sum(0).abs(), steps.norm(dim=0) * (1 - 2**-20))
    most = torch.where(is_along_axis, 4 * max(image.shape[-2:]), _MAX_SAMPLING_RATIO)
    across, down = lengths.ceil().nan_to_num(1).clamp(min=1).minimum(most).int().tolist()
    return down, across


def _sample(
    maps: Tensor,
    to_input: Tensor,
    output_size: tuple[int, int],
    ratios: tuple[int, int],
    interpolation: str,
    padding_mode: str,
    fill: float,
) -> Tensor:
    height, width = maps.shape[-2:]
    x, y, is_there = sample_points(to_input, output_size, ratios, padding_mode, (height, width))
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)
    grid = torch.where(is_there[..., None], grid, 0)
    sampled = F.grid_sample(
        maps - fill if fill else maps,
        grid.to(maps.dtype),
        mode=interpolation,
        padding_mode=_PADDING.get(padding_mode, padding_mode),
        align_corners=False,
    )
    return F.avg_pool2d(torch.where(is_there[:, None], sampled, 0), ratios) + fill


def sample_points(
    to_input: Tensor,
    output_size: tuple[int, int],
    ratios: tuple[int, int],
    padding_mode: str,
    input_size: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns x and y of all samples (N, rows, columns), and whether they are in front of the horizon.

    With the padding of RoIAlign, samples that are far outside are not there, either.
    """
    rows, columns = (
        (torch.arange(size * ratio, dtype=to_input.dtype, device=to_input.device) + 0.5) / ratio - 0.5
        for size, ratio in zip(output_size, ratios, strict=True)
    )
    m = to_input[..., None, None]
    x, y, w = (m[:, i, 0] * columns + m[:, i, 1] * rows[:, None] + m[:, i, 2] for i in range(3))
    is_there = w > 0
    w = torch.where(is_there, w, 1.0)
    x, y = x / w, y / w
    if padding_mode == "roi_align":
        height, width = input_size
        is_there = is_there & (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
    return x, y, is_there & x.isfinite() & y.isfinite()


def sampling_transforms(
    matrices: Tensor, convention: str, input_size: tuple[int, int], output_size: tuple[int, int]
) -> Tensor:
    """Returns the transforms (N, 3, 3) from output pixels to homogeneous coordinates of the input.

    The third coordinate is 1 at the centre of the window. The transform of a singular matrix is NaN.
    """
    matrices = _square(matrices.double())
    is_valid = (
        _transforms(matrices.detach(), convention, input_size, output_size).isfinite().flatten(1).all(1)
    )
    is_valid = is_valid[:, None, None]
    # Singular matrices are replaced before the inversion, too, since the gradient of NaN is NaN.
    identity = torch.eye(3, dtype=matrices.dtype, device=matrices.device)
    safe = torch.where(is_valid, matrices, identity)
    return torch.where(is_valid, _transforms(safe, convention, input_size, output_size), torch.nan)


def _transforms(
    matrices: Tensor, convention: str, input_size: tuple[int, int], output_size: tuple[int, int]
) -> Tensor:
    m = matrices if convention == "inverse" else _inverse(matrices)
    height, width = input_size
    if convention == "half_pixel":
        shift = torch.eye(3, dtype=m.dtype, device=m.device)
        shift[:2, 2] = 0.5
        m = (2 * torch.eye(3, dtype=m.dtype, device=m.device) - shift) @ m @ shift
    elif convention == "pose2seg":  # if a side has one pixel, its only coordinate is 0
        shrink = m.new_tensor([(width - 1) / width, (height - 1) / height, 1])
        m = shrink[:, None] * m * torch.where(shrink > 0, 1 / shrink, 0)
    centre = m.new_tensor([(output_size[1] - 1) / 2, (output_size[0] - 1) / 2, 1])
    return m / (m[:, 2] @ centre)[:, None, None]


def _square(matrices: Tensor) -> Tensor:
    if matrices.shape[-2] == 3:
        return matrices
    last = matrices.new_tensor([0, 0, 1]).expand(matrices.shape[0], 1, 3)
    return torch.cat((matrices, last), -2)


def _inverse(matrices: Tensor) -> Tensor:
    a, b, c = matrices.unbind(-2)
    adjugate = torch.stack((torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)), -1)
    determinant = (a * adjugate[..., 0]).sum(-1)[..., None, None]
    return adjugate / determinant
