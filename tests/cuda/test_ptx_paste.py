"""Tests of the PTX of the pasting, run-length, letterbox and fitting kernels: results, races and bounds."""

from typing import Any

import numpy as np
import ptx
import ptxrun
import pytest
import torch
from pasting import example

import pose2seg_ops
from pose2seg_ops import encode_rle

THREADS = 256
STRIPE = 32

# The parameter structs of csrc/core, pointers as numbers.
BOUNDARIES = np.dtype(
    [
        ("masks", "i8"),
        ("found", "u8"),
        ("counts", "u8"),
        ("boundaries", "u8"),
        ("per_column", "i8"),
        ("stripe_counts", "u8"),
        ("ranks", "u8"),
    ]
)
ENCODE = np.dtype(
    [("masks", "u8"), ("height", "i8"), ("width", "i8"), ("strides", "i8", 2), ("output", BOUNDARIES)]
)
PASTE = np.dtype(
    [
        ("targets", "u8"),
        ("target_count", "i8"),
        ("roi_height", "i8"),
        ("roi_width", "i8"),
        ("threshold", "f8"),
        ("dtype", "i4"),
        ("opacities", "?"),
    ],
    align=True,
)
PASTE_RLE = np.dtype([("paste", PASTE), ("output", BOUNDARIES)], align=True)
TARGETS = np.dtype(
    [
        (
            "targets",
            [
                ("roi", "u8"),
                ("matrix", "u8"),
                ("image", "i8"),
                ("height", "i8"),
                ("width", "i8"),
                ("mask", "u8"),
                ("first_stripe", "i8"),
            ],
            64,
        )
    ]
)
LETTERBOX_IMAGE = np.dtype(
    [("pixels", "u8"), ("height", "i8"), ("width", "i8"), ("strides", "i8", 3), ("geometry", "f4", 6)]
)
LETTERBOX = np.dtype(
    [
        ("images", "u8"),
        ("image_count", "i8"),
        ("output", "u8"),
        ("output_strides", "i8", 4),
        ("height", "i8"),
        ("width", "i8"),
        ("matrices", "u8"),
        ("multiply", "f4", 3),
        ("add", "f4", 3),
        ("dtype", "i4"),
    ],
    align=True,
)
FIT = np.dtype(
    [
        ("keypoints", "u8"),
        ("templates", "u8"),
        ("matrices", "u8"),
        ("index", "u8"),
        ("score", "u8"),
        ("poses", "i8"),
        ("template_count", "i8"),
        ("joints", "i8"),
        ("sizes", "f8", 4),
        ("score_kind", "i4"),
        ("dtype", "i4"),
    ]
)


class Kernels:
    """Runs the kernels of one .cu file, and fails if they race."""

    def __init__(self, name: str) -> None:
        self.module = ptx.compile_ptx(name)
        self.device = ptxrun.Device()

    def bind(self, array: np.ndarray) -> int:
        return self.device.bind(array)

    def run(self, kernel: str, grid: Any, arguments: list[Any], threads: int = THREADS) -> ptxrun.Report:
        return ptx.run(self.module, kernel, grid, threads, arguments, self.device)


class Buffers:
    """The output buffers of the run-length kernels for masks of these widths."""

    def __init__(self, kernels: Kernels, widths: list[int], per_column: int) -> None:
        self.stripes = [-(-width // STRIPE) for width in widths]
        self.starts = np.cumsum([0, *self.stripes])
        total = self.starts[-1]
        self.counts = np.zeros(len(widths), "u4")
        self.boundaries = np.zeros((total, STRIPE * per_column), "u4")
        self.scratch = np.zeros(total, "u4"), np.zeros(total * THREADS, "u4")
        pointers = [kernels.bind(a) for a in (self.counts, self.boundaries, *self.scratch)]
        self.struct = (len(widths), 0, *pointers[:2], per_column, *pointers[2:])

    def mask(self, index: int, height: int, width: int) -> torch.Tensor:
        own = self.boundaries[self.starts[index] : self.starts[index + 1]].ravel()[: self.counts[index]]
        flips = np.bincount(own, minlength=height * width + 1)[: height * width]
        return torch.from_numpy((np.cumsum(flips) % 2).reshape(width, height).T.astype(bool))


def noise(height, width):
    return torch.rand(2, height, width, generator=torch.Generator().manual_seed(0)) < 0.3


def shapes(height, width):
    """Draws a rectangle and a ring, with two and four boundaries per column."""
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    masks[0, height // 8 : -height // 4, 3:-5] = True
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    radius = x**2 + y**2
    masks[1] = (radius < 0.9) & (radius > 0.3)
    return masks


def run_encode_rle(kernels: Kernels, masks: torch.Tensor, buffers: Buffers) -> list[Any]:
    _, height, width = masks.shape
    params = np.zeros((), ENCODE)
    pixels = masks.numpy().astype(np.uint8)
    params[()] = (kernels.bind(pixels), height, width, (height * width, width), buffers.struct)
    names = ("count_mask_boundaries", "store_mask_boundaries")
    return [kernels.run(name, sum(buffers.stripes), [params[()]]) for name in names]


@pytest.mark.parametrize("draw", [shapes, noise])
@pytest.mark.parametrize(("height", "width"), [(64, 128), (37, 75)])
def test_encode_rle(height, width, draw):
    kernels = Kernels("encode_rle")
    masks = draw(height, width)
    buffers = Buffers(kernels, [width] * 2, per_column=height)
    counted, stored = run_encode_rle(kernels, masks, buffers)
    assert all(torch.equal(buffers.mask(i, height, width), masks[i]) for i in (0, 1))
    assert encode_rle(torch.stack([buffers.mask(i, height, width) for i in (0, 1)])) == encode_rle(masks)
    if draw is noise:  # the other masks store little
        assert min(ptx.efficiency(ptx.accesses(report, "st")) for report in (counted, stored)) >= 0.9


def paste_arguments(
    kernels: Kernels,
    arguments: tuple[Any, ...],
    masks: list[np.ndarray] | None = None,
    opacities: bool = False,
) -> tuple[Any, Any]:
    probabilities, matrices, batch_index, sizes = arguments
    params, targets = np.zeros((), PASTE), np.zeros((), TARGETS)
    arrays = [a.numpy().copy() for a in (probabilities, matrices)]
    kernels.keep = arrays  # type: ignore[attr-defined]  # keeps them alive while they are bound
    rois, windows = (kernels.bind(a) for a in arrays)
    params[()] = (0, *probabilities.shape, 0.5, 0, opacities)
    for i, image in enumerate(batch_index.tolist()):
        mask = (
            0
            if masks is None
            else kernels.bind(masks[image]) + (batch_index[:i] == image).sum().item() * masks[image][0].size
        )
        stripes = sum(-(-sizes[before][1] // STRIPE) for before in batch_index[:i].tolist())
        roi, window = rois + i * arrays[0][i].nbytes, windows + i * arrays[1][i].nbytes
        targets["targets"][i] = (roi, window, image, *sizes[image], mask, stripes)
    return params, targets


@pytest.mark.parametrize("threshold", [0.5, None])
def test_paste_masks(threshold: float | None):
    kernels = Kernels("paste_masks")
    arguments = example(torch.float32)
    expected = pose2seg_ops.paste_masks(*arguments, threshold=threshold)
    masks = [np.full(of_image.shape, 7, np.uint8) for of_image in expected]
    run_paste(kernels, arguments, masks, opacities=threshold is None)
    assert all(np.array_equal(mask, wanted.numpy()) for mask, wanted in zip(masks, expected, strict=True))


@pytest.mark.parametrize("width", [416, 427])
def test_paste_masks_stores_whole_sectors(width: int):
    masks = [np.full((1, 37, width), 7, np.uint8)]
    arguments = (
        torch.ones(1, 4, 4),
        torch.tensor([[[0.02, 0, 0], [0, 0.1, 0]]]),
        torch.tensor([0]),
        [(37, width)],
    )
    result = run_paste(Kernels("paste_masks"), arguments, masks)
    words = [m for m in result.accesses if (m.kind, m.bytes, m.space) == ("st", 16, "global")]
    assert sum(m.lanes for m in words) * 16 > 0.9 * masks[0].size
    assert min(m.efficiency for m in words) >= 0.95


def run_paste(
    kernels: Kernels, arguments: tuple[Any, ...], masks: list[np.ndarray], opacities: bool = False
) -> Any:
    params, targets = paste_arguments(kernels, arguments, masks, opacities)
    height, width = (max(mask.shape[axis] for mask in masks) for axis in (1, 2))
    grid = -(-(width + 31) // 64), -(-height // 32), len(arguments[0])
    return kernels.run(f"pasteIf{'h' if opacities else 'b'}", grid, [params[()], targets[()]], threads=128)


def run_paste_rle(kernels: Kernels, arguments: tuple[Any, ...], buffers: Buffers) -> list[Any]:
    params, targets = paste_arguments(kernels, arguments)
    both = np.zeros((), PASTE_RLE)
    both[()] = (params[()], buffers.struct)
    grid = max(buffers.stripes), len(arguments[0])
    launches: list[tuple[str, list[int]]] = [
        ("count_pasted_boundariesIf", []),
        ("store_pasted_boundariesIf", [0]),
    ]
    return [kernels.run(name, grid, [both[()], targets[()], *first]) for name, first in launches]


def test_paste_rle():
    kernels = Kernels("paste_rle")
    arguments = example(torch.float32)
    buffers = Buffers(kernels, [arguments[3][image][1] for image in arguments[2].tolist()], per_column=8)
    run_paste_rle(kernels, arguments, buffers)
    masks = pose2seg_ops.paste_masks(*arguments)
    for image, (height, width) in enumerate(arguments[3]):
        people = (arguments[2] == image).nonzero()[:, 0].tolist()
        for wanted, person in zip(masks[image], people, strict=True):
            assert torch.equal(buffers.mask(person, height, width), wanted)


def run_letterbox(
    kernels: Kernels, image: torch.Tensor, matrix: torch.Tensor, size: tuple[int, int], layout: str
) -> tuple[torch.Tensor, np.ndarray, Any]:
    """Returns the batch of one image, its matrix, and the report."""
    scale, shift_x, shift_y = (matrix[i, j].item() for i, j in ((0, 0), (0, 2), (1, 2)))
    pixels, stored = image.numpy(), np.zeros((1, 2, 3), "f4")
    batch = torch.full((1, 3, *size), torch.nan)
    if layout == "channels_last":
        batch = batch.contiguous(memory_format=torch.channels_last)
    images = np.zeros((), [("images", LETTERBOX_IMAGE, 40)])
    geometry = (1 / scale, -shift_x / scale, -shift_y / scale, scale, shift_x, shift_y)
    height, width = image.shape[:2]
    images["images"][0] = (kernels.bind(pixels), height, width, (3 * width, 3, 1), geometry)
    params = np.zeros((), LETTERBOX)
    params[()] = (
        0,
        1,
        kernels.bind(ptx.raw(batch)),
        batch.stride(),
        *size,
        kernels.bind(stored),
        [1 / 255] * 3,
        [0] * 3,
        0,
    )
    blocks = -(-size[0] * size[1] // THREADS)
    kernel = f"letterbox_imagesIfiLb{int(layout == 'channels_last')}E"
    return batch, stored, kernels.run(kernel, blocks, [params[()], images[()], 0])


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [(16, 32), (13, 21)])
def test_letterbox(size, layout):
    kernels = Kernels("letterbox")
    image = torch.randint(0, 256, (23, 31, 3), generator=torch.Generator().manual_seed(0)).byte()
    expected, matrices = pose2seg_ops.letterbox([image], size, (0, 0, 0), (1, 1, 1))
    batch, stored, result = run_letterbox(kernels, image, matrices[0], size, layout)
    np.testing.assert_allclose(batch.numpy(), expected.numpy(), atol=1e-5)
    np.testing.assert_array_equal(stored, matrices.numpy())
    if size[0] * size[1] % 8 == 0:
        assert ptx.efficiency(ptx.accesses(result, "st")) >= 0.9


def run_fit(kernels: Kernels, poses: torch.Tensor, templates: torch.Tensor) -> list[Any]:
    """Returns matrices, indices and scores, and the report, for features of 128 x 128 and RoIs of 64 x 64."""
    count, joints = poses.shape[:2]
    arrays = [
        poses.numpy(),
        templates.numpy(),
        np.zeros((count, 2, 3), "f4"),
        np.zeros(count, "i8"),
        np.zeros(count, "f4"),
    ]
    params = np.zeros((), FIT)
    pointers = (kernels.bind(a) for a in arrays)
    params[()] = (*pointers, count, len(templates), joints, (128, 128, 64, 64), 0, 0)
    blocks = -(-count // 4)
    return [*arrays[2:], kernels.run("fit_posesIf", blocks, [params[()]], threads=128)]


def test_fit_pose_templates():
    kernels = Kernels("fit_pose_templates")
    generator = torch.Generator().manual_seed(0)
    templates = torch.cat((torch.rand(33, 17, 2, generator=generator), torch.ones(33, 17, 1)), -1)
    poses = templates[[3, 32, 7]] * torch.tensor([50.0, 50.0, 2.0]) + torch.tensor([9.0, 5.0, 0.0])
    expected = pose2seg_ops.fit_pose_templates(poses, templates, (128, 128), (64, 64))
    *actual, _ = run_fit(kernels, poses, templates)
    for fitted, wanted in zip(actual, expected, strict=True):
        np.testing.assert_allclose(fitted, wanted.numpy(), rtol=1e-5, atol=1e-5)
