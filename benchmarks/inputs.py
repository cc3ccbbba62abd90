"""Inputs of the sizes of Pose2Seg: features of 128 x 128, RoIs of 64 x 64, images of 480 x 640."""

import math

import torch
from pose2seg.model import Pose2Seg
from torch import Tensor

from pose2seg_ops.keypoints import transform_keypoints

FEATURES = (128, 128)
ROI = (64, 64)
IMAGE = (480, 640)

#: Of image_matrices: RoIs that are as wide as the image.
WHOLE_IMAGE = {"angle": 0.0, "scale": ROI[1] / IMAGE[1]}

_UPRIGHT = torch.tensor(
    [
        [0.50, 0.10], [0.52, 0.08], [0.48, 0.08], [0.55, 0.09], [0.45, 0.09], [0.62, 0.22], [0.38, 0.22],
        [0.68, 0.38], [0.32, 0.38], [0.70, 0.52], [0.30, 0.52], [0.58, 0.54], [0.42, 0.54], [0.58, 0.75],
        [0.42, 0.75], [0.58, 0.95], [0.42, 0.95],
    ]
)  # fmt: skip


def name_of(setting: torch.dtype | torch.memory_format) -> str:
    """What the case of a contest calls it: "float32", "channels_last", "contiguous"."""
    return str(setting).removeprefix("torch.").removesuffix("_format")


def people(count: int) -> Tensor:
    """Standing people, each a little different: (count, 17, 3), all joints visible, in features."""
    generator = torch.Generator().manual_seed(0)
    shaken = _UPRIGHT + 0.02 * torch.randn(count, 17, 2, generator=generator)
    return torch.cat((shaken * 90 + 20, torch.full((count, 17, 1), 2.0)), -1)


def templates() -> Tensor:
    """Six pose templates in the unit square, (6, 17, 3)."""
    return (people(6) - torch.tensor([20.0, 20.0, 0.0])) / torch.tensor([90.0, 90.0, 1.0])


def features(channels: int, memory_format: torch.memory_format, dtype: torch.dtype) -> Tensor:
    """(1, channels, 128, 128)."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1, channels, *FEATURES, generator=generator)
    return values.to(dtype).contiguous(memory_format=memory_format)


def matrices(count: int) -> Tensor:
    """Features -> RoI, (count, 2, 3): rotations by up to half a radian, and a shrink to 0.7."""
    angle = torch.linspace(-0.5, 0.5, count)
    a, b = 0.7 * angle.cos(), 0.7 * angle.sin()
    shift = torch.full_like(a, math.pi)
    return torch.stack((a, b, -shift, -b, a, shift), -1).reshape(-1, 2, 3)


def poses_in_rois(count: int) -> Tensor:
    """`people` moved by `matrices`: (count, 17, 3)."""
    return transform_keypoints(people(count), matrices(count))


def ellipses(count: int) -> Tensor:
    """Probability maps (count, 64, 64) of an upright ellipse."""
    axis = torch.linspace(-1, 1, ROI[0])
    ellipse = (1.2 - axis**2 - axis[:, None] ** 2).clamp(0, 1)
    return ellipse.repeat(count, 1, 1)


def image_matrices(count: int, angle: float = 0.08, scale: float = 0.25) -> Tensor:
    """Image -> RoI, (count, 2, 3): people of 64 / `scale` pixels, spread over the image."""
    across = torch.linspace(0, 1, count + 2)[1:-1]
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    x, y = across * IMAGE[1], torch.full_like(across, IMAGE[0] / 2)
    tx, ty = 31.5 - (a * x + b * y), 31.5 - (-b * x + a * y)
    rows = torch.stack((torch.full_like(x, a), torch.full_like(x, b), tx), -1)
    columns = torch.stack((torch.full_like(x, -b), torch.full_like(x, a), ty), -1)
    return torch.stack((rows, columns), 1)


def model() -> Pose2Seg:
    """Of the original's size, with random weights, in evaluation mode."""
    torch.manual_seed(0)
    model = Pose2Seg(templates()).eval()
    with torch.no_grad():  # probabilities that differ from pixel to pixel, and are seldom near 0.5
        model.segnet.pred_small.weight *= 50
    return model


def photographs_with_people(images: int, people_each: int) -> tuple[list[Tensor], list[Tensor]]:
    """(480, 640, 3) uint8 each, and for each the poses of people side by side, (people_each, 17, 3)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (images, 15, 20, 3), dtype=torch.uint8, generator=generator)
    keypoints = people(people_each) * torch.tensor([1.5, 3.0, 1.0])
    keypoints[..., 0] += torch.linspace(-20, IMAGE[1] - 180, people_each)[:, None]
    return list(coarse.repeat_interleave(32, 1).repeat_interleave(32, 2)), [keypoints] * images
