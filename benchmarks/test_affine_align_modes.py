from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case
from benchmarks.inputs import ROI, features, matrices, name_of
from benchmarks.peers import find
from pose2seg_ops import reference

_KORNIA = find("kornia.geometry.transform", "warp_perspective")
_TORCHVISION = find("torchvision.ops", "roi_align")
_LAYOUTS = (torch.channels_last, torch.contiguous_format)


def _mode(label: str, memory_format: torch.memory_format, **modes: Any) -> Case:
    """Compares with grid_sample, which is what the reference calls."""

    def inputs(device: torch.device) -> tuple[Any, ...]:
        index = torch.zeros(32, dtype=torch.long, device=device)
        maps = features(64, memory_format, torch.float32).to(device)
        return maps, matrices(32).to(device), index, ROI

    implementations: dict[str, Callable[..., Any]] = {
        OURS: lambda *given: pose2seg_ops.affine_align(*given, **modes),
        REFERENCE: lambda *given: reference.affine_align(*given, **modes),
    }
    return Case(
        "affine_align with modes",
        f"{label}, {name_of(memory_format)}",
        inputs,
        implementations,
        {REFERENCE: 3},
        tolerance=2e-3,
    )


def _projective(memory_format: torch.memory_format) -> Case:
    def inputs(device: torch.device) -> tuple[Any, ...]:
        last = torch.tensor([[[1e-4, -2e-4, 1.0]]]).expand(32, 1, 3)
        square = torch.cat((matrices(32), last), 1).to(device)
        return features(64, memory_format, torch.float32).to(device), square

    def ours(maps: Tensor, square: Tensor) -> Tensor:
        return pose2seg_ops.affine_align(maps, square, torch.zeros(32, dtype=torch.long), ROI)

    def with_grid_sample(maps: Tensor, square: Tensor) -> Tensor:
        return reference.affine_align(maps, square, torch.zeros(32, dtype=torch.long), ROI)

    def with_kornia(maps: Tensor, square: Tensor) -> Tensor:
        return _KORNIA["kornia"](maps.expand(32, -1, -1, -1), square, ROI, align_corners=True)

    implementations: dict[str, Callable[..., Any]] = {OURS: ours, REFERENCE: with_grid_sample}
    label = f"projective, {name_of(memory_format)}"
    targets = dict.fromkeys((REFERENCE, *_KORNIA), 3.0)
    implementations |= dict.fromkeys(_KORNIA, with_kornia)
    return Case("affine_align with modes", label, inputs, implementations, targets, tolerance=2e-3)


def _boxes(size: int, memory_format: torch.memory_format, backward: bool) -> Case:
    """512 boxes in features of 100 x 136, such as those of a detector's second level."""

    def inputs(device: torch.device) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(0)
        corner = torch.rand(512, 2, generator=generator) * torch.tensor([1000.0, 700.0])
        sides = 20 + 300 * torch.rand(512, 2, generator=generator)
        image = torch.randint(2, (512, 1), generator=generator)
        boxes = torch.cat((image, corner, corner + sides), 1)
        maps = torch.randn(2, 256, 100, 136, generator=generator).contiguous(memory_format=memory_format)
        grad = torch.randn(512, 256, size, size, generator=generator).contiguous(memory_format=memory_format)
        return maps.to(device).requires_grad_(backward), boxes.to(device), grad.to(device)

    def by(op: Callable[..., Tensor]) -> Callable[..., Any]:
        def run(maps: Tensor, boxes: Tensor, grad: Tensor) -> Tensor:
            output = op(maps, boxes, size, spatial_scale=1 / 8, sampling_ratio=2, aligned=True)
            return torch.autograd.grad(output, maps, grad)[0] if backward else output

        return run

    # There is no reference of our own: torchvision's op is what ours must agree with.
    implementations = {OURS: by(pose2seg_ops.roi_align), REFERENCE: by(_TORCHVISION["torchvision"])}
    what = "forward and backward" if backward else "forward"
    limit = "" if memory_format == torch.channels_last else _LIMIT
    label = f"{size} x {size}, {name_of(memory_format)}, {what}"
    return Case("roi_align", label, inputs, implementations, {REFERENCE: 3.0}, limit=limit)


_LIMIT = "In planes, the features are copied first, and the result is written back to planes."

_MODES: dict[str, dict[str, Any]] = {
    "border": {"padding_mode": "border"},
    "reflection": {"padding_mode": "reflection"},
    "nearest": {"interpolation": "nearest"},
    "bicubic": {"interpolation": "bicubic"},
    "2 x 2 samples": {"sampling_ratio": 2},
}
CASES = [
    *(_mode(label, layout, **modes) for label, modes in _MODES.items() for layout in _LAYOUTS),
    *(_projective(layout) for layout in _LAYOUTS),
    *(
        _boxes(size, layout, back)
        for back in (False, True)
        for size in (7, 14)
        for layout in _LAYOUTS
        if _TORCHVISION
    ),
]


def test_affine_align_modes(check_and_time, case, implementation):
    """N = 32, C = 64, 128 x 128 -> 64 x 64; and 512 boxes of 256 channels, as of a detector."""
    check_and_time(case, implementation)
