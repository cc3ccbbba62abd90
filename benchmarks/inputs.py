"""Inputs with the sizes of Pose2Seg: features of 128 x 128, RoIs of 64 x 64, images of 480 x 640."""

import math

import torch
from pose2seg.network.model import Pose2Seg
from torch import Tensor

from pose2seg_ops.keypoints import transform_keypoints

FEATURES = (128, 128)
ROI = (64, 64)
IMAGE = (480, 640)

#: Arguments of image_matrices for RoIs that are as wide as the image.
WHOLE_IMAGE = {"angle": 0.0, "scale": ROI[1] / IMAGE[1]}

_UPRIGHT = torch.tensor(
    [
        [0.50, 0.10], [0.52, 0.08], [0.48, 0.08], [0.55, 0.09], [0.45, 0.09], [0.62, 0.22], [0.38, 0.22],
        [0.68, 0.38], [0.32, 0.38], [0.70, 0.52], [0.30, 0.52], [0.58, 0.54], [0.42, 0.54], [0.58, 0.75],
        [0.42, 0.75], [0.58, 0.95], [0.42, 0.95],
    ]
)  # fmt: skip


def name_of(setting: torch.dtype | torch.memory_format) -> str:
    """Returns the name in the label of a case: "float32", "channels_last", "contiguous"."""
    return str(setting).removeprefix("torch.").removesuffix("_format")


def people(count: int) -> Tensor:
    """Returns poses (count, 17, 3) of standing people, slightly varied, all joints visible, in feature
    pixels."""
    generator = torch.Generator().manual_seed(0)
    shaken = _UPRIGHT + 0.02 * torch.randn(count, 17, 2, generator=generator)
    return torch.cat((shaken * 90 + 20, torch.full((count, 17, 1), 2.0)), -1)


def templates() -> Tensor:
    """Returns six pose templates (6, 17, 3) in the unit square."""
    return (people(6) - torch.tensor([20.0, 20.0, 0.0])) / torch.tensor([90.0, 90.0, 1.0])


def features(channels: int, memory_format: torch.memory_format, dtype: torch.dtype) -> Tensor:
    """Returns random features (1, channels, 128, 128)."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1, channels, *FEATURES, generator=generator)
    return values.to(dtype).contiguous(memory_format=memory_format)


def matrices(count: int) -> Tensor:
    """Returns matrices (count, 2, 3), features -> RoI, with rotations by up to half a radian and a scale of
    0.7."""
    angle = torch.linspace(-0.5, 0.5, count)
    a, b = 0.7 * angle.cos(), 0.7 * angle.sin()
    shift = torch.full_like(a, math.pi)
    return torch.stack((a, b, -shift, -b, a, shift), -1).reshape(-1, 2, 3)


def poses_in_rois(count: int) -> Tensor:
    """Returns `people` transformed by `matrices`, (count, 17, 3)."""
    return transform_keypoints(people(count), matrices(count))


def ellipses(count: int) -> Tensor:
    """Returns probability maps (count, 64, 64) of an upright ellipse."""
    axis = torch.linspace(-1, 1, ROI[0])
    ellipse = (1.2 - axis**2 - axis[:, None] ** 2).clamp(0, 1)
    return ellipse.repeat(count, 1, 1)


def image_matrices(count: int, angle: float = 0.08, scale: float = 0.25) -> Tensor:
    """Returns matrices (count, 2, 3), image -> RoI, for people of 64 / `scale` pixels spread over the
    image."""
    across = torch.linspace(0, 1, count + 2)[1:-1]
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    x, y = across * IMAGE[1], torch.full_like(across, IMAGE[0] / 2)
    tx, ty = 31.5 - (a * x + b * y), 31.5 - (-b * x + a * y)
    rows = torch.stack((torch.full_like(x, a), torch.full_like(x, b), tx), -1)
    columns = torch.stack((torch.full_like(x, -b), torch.full_like(x, a), ty), -1)
    return torch.stack((rows, columns), 1)


def model() -> Pose2Seg:
    """Returns a model of the original size with random weights, in evaluation mode."""
    torch.manual_seed(0)
    model = Pose2Seg(templates()).eval()
    with torch.no_grad():  # make probabilities vary from pixel to pixel and rarely be near 0.5
        model.segnet.pred_small.weight *= 50
    return model


def images_with_people(images: int, people_each: int) -> tuple[list[Tensor], list[Tensor]]:
    """Returns images (480, 640, 3) uint8 and, for each, the poses (people_each, 17, 3) of people side by
    side."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (images, 15, 20, 3), dtype=torch.uint8, generator=generator)
    keypoints = people(people_each) * torch.tensor([1.5, 3.0, 1.0])
    keypoints[..., 0] += torch.linspace(-20, IMAGE[1] - 180, people_each)[:, None]
    return list(coarse.repeat_interleave(32, 1).repeat_interleave(32, 2)), [keypoints] * images
