"""Valid arguments for every op, for the tests that cover all ops."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

import pose2seg_ops
from pose2seg_ops import reference

LIMBS = ((0, 1), (1, 2), (2, 3))
COMPOSED = ("roi_align", "roi_align_rotated")  # of other ops
OPS = tuple(name for name in pose2seg_ops.__all__ if name.islower() and name not in COMPOSED)
DIFFERENTIABLE = ("affine_align", "skeleton_maps", "align_with_skeleton")
RUN_LENGTHS = ("paste_rle", "encode_rle")  # ops whose results are Python data
PARALLEL_SCALE = 8  # the scale from which every op runs on several OpenMP threads


def valid_arguments(
    op: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, scale: int = 1
) -> dict[str, Any]:
    """Returns arguments for three instances of four joints in two images; geometry has the precision required
    by `dtype`.

    `scale` multiplies the channels, the sides that are small by default, and the number of poses to fit.
    """
    generator = torch.Generator().manual_seed(0)
    geometry = torch.float64 if dtype == torch.float64 else torch.float32

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    def sides(height: int, width: int) -> tuple[int, int]:
        return scale * height, scale * width

    def poses(count: int) -> torch.Tensor:
        joints = torch.cat((7 * scale * random(count, 4, 2), 1 + random(count, 4, 1).round()), -1)
        return joints.to(device, geometry)

    input = random(2, 3 * scale, *sides(9, 8)).to(device, dtype)
    matrices = (torch.eye(2, 3) + 0.2 * random(3, 2, 3)).to(device, geometry)
    batch_index = torch.tensor([1, 0, 1], device=device)
    keypoints = poses(3)
    templates = torch.cat((random(2, 4, 2), torch.ones(2, 4, 1)), -1).to(device, geometry)
    sampled = {"input": input, "matrices": matrices, "batch_index": batch_index, "output_size": sides(6, 7)}
    pasted = {
        "probabilities": random(3, *sides(5, 6)).to(device, dtype),
        "matrices": matrices,
        "batch_index": batch_index,
        "image_sizes": [sides(12, 9), sides(10, 11)],
    }
    images = [(255 * random(*sides(*size), 3)).byte().to(device) for size in ((5, 7), (9, 4))]
    arguments: dict[str, dict[str, Any]] = {
        "affine_align": sampled,
        "skeleton_maps": {"keypoints": keypoints, "output_size": sides(6, 7), "limbs": LIMBS},
        "align_with_skeleton": sampled | {"keypoints": keypoints, "limbs": LIMBS},
        "fit_pose_templates": {
            "keypoints": poses(12 * scale),
            "templates": templates,
            "source_size": sides(9, 8),
            "output_size": sides(6, 7),
        },
        "paste_masks": pasted,
        "paste_rle": pasted,
        "encode_rle": {"masks": random(3, *sides(8, 9)).to(device) > 0.5},
        "letterbox": {"images": images, "size": sides(8, 8), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)},
    }
    return arguments[op]


def as_function_of_tensors(backend: Any, op: str) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """Returns the op as a function of its tensors alone, and the tensors."""
    arguments = valid_arguments(op, backend.device)
    if op == "letterbox":
        images = arguments.pop("images")

        def of_images(*images: torch.Tensor) -> Any:
            return getattr(backend, op)(list(images), **arguments)

        return of_images, images
    names = [name for name, value in arguments.items() if isinstance(value, torch.Tensor)]

    def call(*tensors: torch.Tensor) -> Any:
        result = getattr(backend, op)(**(arguments | dict(zip(names, tensors, strict=True))))
        return tuple(result) if isinstance(result, list) else result

    return call, [arguments[name] for name in names]


def changed(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Returns tensors with other values, to detect a graph of constants."""
    return [tensor // 2 if tensor.dtype == torch.uint8 else tensor.flip(0) for tensor in tensors]


def results(backend, op: str, scale: int = 1) -> Any:
    """Returns the results of the op for its valid arguments, and all of its gradients."""
    arguments = valid_arguments(op, backend.device, scale=scale)
    leaves = [arguments[name] for name in ("input", "keypoints", "matrices") if name in arguments]
    if op not in DIFFERENTIABLE:
        return getattr(backend, op)(**arguments)
    for leaf in leaves:
        leaf.requires_grad_()
    output = getattr(backend, op)(**arguments)
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    return output.detach(), *torch.autograd.grad(output, leaves, grad)


def require_reference(found: Any, op: str) -> None:
    """Fails unless `results` of a backend are those of the reference on the CPU."""
    expected = results(SimpleNamespace(device=torch.device("cpu"), **{op: getattr(reference, op)}), op)
    if op in RUN_LENGTHS:
        assert found == expected
    else:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, check_device=False)


def same(first: Any, second: Any) -> bool:
    """Whether both have the same bits."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second
