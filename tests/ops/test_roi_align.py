"""Tests of RoIAlign, compared with torchvision and with the definitions in float64."""

import math

import pytest
import torch
from torch import Tensor

from pose2seg_ops import roi_align, roi_align_rotated

BOXES = torch.tensor(
    [
        [0, 2.0, 1.0, 14.0, 9.5],
        [1, -3.0, -2.5, 6.0, 30.0],
        [1, 5.0, 5.0, 5.3, 5.2],
        [0, 0.0, 0.0, 33.9, 40.0],
        [1, 12.0, 3.0, 20.0, 11.0],
        [0, 40.0, 50.0, 60.0, 61.0],
        [0, 9.0, 9.0, 3.0, 4.0],
    ]
)
ROTATED = torch.tensor(
    [
        [0, 8.0, 7.0, 12.0, 6.0, 0.0],
        [1, 10.0, 9.0, 8.0, 14.0, 0.7],
        [0, 3.0, 15.0, 10.0, 9.0, -2.5],
        [1, 16.0, 2.0, 0.4, 0.3, 1.0],
        [1, 30.0, 30.0, 40.0, 44.0, 3.3],
        [0, 8.0, 8.0, 12.0, 8.0, math.pi / 3],
    ]
)


def features(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, 5, 17, 19, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
        dtype
    )


def value(image: Tensor, x: float, y: float) -> Tensor:
    """Interpolates as the authors of RoIAlign: 0 farther than a pixel outside, and otherwise clamped."""
    height, width = image.shape[-2:]
    if not (-1 <= x <= width and -1 <= y <= height):
        return image.new_zeros(image.shape[0])
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    right, lower = x - left, y - top
    upper_row = (1 - right) * image[:, top, left] + right * image[:, top, left + 1]
    lower_row = (1 - right) * image[:, top + 1, left] + right * image[:, top + 1, left + 1]
    return (1 - lower) * upper_row + lower * lower_row


def pooled(
    image: Tensor, corner: Tensor, across: Tensor, down: Tensor, size: tuple[int, int], ratio: int
) -> Tensor:
    """Averages samples in the cells of a box with a corner and two sides, which are vectors."""
    h, w = size
    samples_across = ratio if ratio > 0 else max(math.ceil(round(across.norm().item() / w, 6)), 0)
    samples_down = ratio if ratio > 0 else max(math.ceil(round(down.norm().item() / h, 6)), 0)
    output = image.new_zeros(image.shape[0], h, w)
    for i in range(h):
        for j in range(w):
            samples = []
            for v in range(samples_down):
                for u in range(samples_across):
                    point = corner + across * ((j + (u + 0.5) / samples_across) / w)
                    point = point + down * ((i + (v + 0.5) / samples_down) / h)
                    samples.append(value(image, *point.tolist()))
            output[:, i, j] = torch.stack(samples).mean(0)
    return output


@pytest.mark.parametrize("ratio", [-1, 2, 3])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_equals_the_definition(backend, dtype, aligned, ratio):
    boxes = BOXES[:6].double()
    expected = []
    for box in boxes:
        corners = box[1:] * 0.5 - (0.5 if aligned else 0)
        size = corners[2:] - corners[:2]
        size = size if aligned else size.clamp(min=1)
        across, down = size.diag()
        expected.append(pooled(features()[int(box[0])], corners[:2], across, down, (3, 4), ratio))
    given = features(dtype).to(backend.device), boxes.to(dtype).to(backend.device)
    output = roi_align(given[0], given[1], (3, 4), 0.5, ratio, aligned)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(output.cpu().double(), torch.stack(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("clockwise", [False, True])
@pytest.mark.parametrize("degrees", [False, True])
def test_rotated_boxes_equal_the_definition(backend, degrees, clockwise, aligned, ratio):
    """mmcv and detectron2 rotate (x, y) to (y sin + x cos, y cos - x sin)."""
    boxes = ROTATED.double()
    expected = []
    for index, x, y, width, height, angle in boxes.tolist():
        angle = -angle if clockwise else angle
        centre = torch.tensor([x, y], dtype=torch.float64) * 0.5 - (0.5 if aligned else 0)
        width, height = (max(0.5 * side, 0 if aligned else 1) for side in (width, height))
        across = width * torch.tensor([math.cos(angle), -math.sin(angle)], dtype=torch.float64)
        down = height * torch.tensor([math.sin(angle), math.cos(angle)], dtype=torch.float64)
        corner = centre - (across + down) / 2
        expected.append(pooled(features()[int(index)], corner, across, down, (3, 4), ratio))
    if degrees:
        boxes = torch.cat((boxes[:, :5], boxes[:, 5:].rad2deg()), 1)
    given = features().to(backend.device), boxes.to(backend.device)
    output = roi_align_rotated(given[0], given[1], (3, 4), 0.5, ratio, aligned, clockwise, degrees=degrees)
    torch.testing.assert_close(output.cpu(), torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("ratio", [-1, 1, 2, 4])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("size", [7, (2, 5)], ids=str)
def test_equals_torchvision(size, aligned, ratio):
    ops = pytest.importorskip("torchvision").ops
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        input, boxes = features(dtype), BOXES.to(dtype)
        for scale in (1.0, 0.25):
            expected = ops.roi_align(input, boxes, size, scale, ratio, aligned)
            torch.testing.assert_close(
                roi_align(input, boxes, size, scale, ratio, aligned), expected, rtol=0, atol=tolerance
            )
            as_list = [boxes[boxes[:, 0] == i, 1:] for i in range(2)]
            expected = ops.roi_align(input, as_list, size, scale, ratio, aligned)
            torch.testing.assert_close(
                roi_align(input, as_list, size, scale, ratio, aligned), expected, rtol=0, atol=tolerance
            )


def test_the_gradient_equals_that_of_torchvision():
    ops = pytest.importorskip("torchvision").ops
    input, boxes = features().requires_grad_(), BOXES.double()
    for ratio in (-1, 2):
        gradients = [
            torch.autograd.grad(op(input, boxes, 3, 0.5, ratio, True).square().sum(), input)[0]
            for op in (roi_align, ops.roi_align)
        ]
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


def test_boxes_have_gradients(backend):
    input = features().to(backend.device).requires_grad_()
    away_from_pixels = 0.1234 * torch.arange(1, 6)
    index = torch.tensor([[0.0], [1]], dtype=torch.float64, device=backend.device)
    boxes = (BOXES[:2, 1:].double() + away_from_pixels[:4]).to(backend.device).requires_grad_()
    rotated = (ROTATED[1:3, 1:].double() + away_from_pixels).to(backend.device).requires_grad_()

    def pool(input: Tensor, boxes: Tensor) -> Tensor:
        return roi_align(input, torch.cat((index, boxes), 1), 2, 0.5, 2, True)

    def pool_rotated(input: Tensor, boxes: Tensor) -> Tensor:
        return roi_align_rotated(input, torch.cat((index, boxes), 1), 2, 0.5, 2)

    assert torch.autograd.gradcheck(pool, (input, boxes), fast_mode=True)
    assert torch.autograd.gradcheck(pool_rotated, (input, rotated), fast_mode=True)


def test_bfloat16_and_channels_last_are_kept():
    input = features(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    output = roi_align(input, BOXES.bfloat16(), 3, 1.0, 2)
    assert output.dtype == torch.bfloat16
    assert output.is_contiguous(memory_format=torch.channels_last)
    expected = roi_align(input.double(), BOXES.bfloat16().double(), 3, 1.0, 2)
    assert (output.double() - expected).abs().max() <= 0.02


def test_there_may_be_no_boxes():
    assert roi_align(features(), torch.empty(0, 5).double(), 3).shape == (0, 5, 3, 3)
    assert roi_align(features(), [torch.empty(0, 4).double()] * 2, 3).shape == (0, 5, 3, 3)
    assert roi_align(features(), [], 3).shape == (0, 5, 3, 3)
    assert roi_align_rotated(features(), torch.empty(0, 6).double(), (2, 3)).shape == (0, 5, 2, 3)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (torch.zeros(3, 4), r"boxes must be \(K, 5\), or a list of \(L, 4\), got \(3, 4\)"),
        ([torch.zeros(3, 4), torch.zeros(3, 5)], r"got \(3, 5\) at 1"),
        ([None], "got NoneType at 0"),
    ],
)
def test_wrong_boxes_are_refused(boxes, message):
    with pytest.raises(ValueError, match=message):
        roi_align(features(), boxes, 3)


def test_wrong_other_arguments_are_refused():
    with pytest.raises(TypeError, match="input must be a tensor, got NoneType"):
        roi_align(None, BOXES, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="boxes must be on cpu as input is, got meta"):
        roi_align(features(), BOXES.to("meta"), 3)
    with pytest.raises(
        TypeError, match=r"output_size must be \(height, width\), two integers, got \(1, 2, 3\)"
    ):
        roi_align(features(), BOXES, (1, 2, 3))


def test_wrong_rotated_boxes_are_refused():
    with pytest.raises(ValueError, match=r"boxes must be \(K, 6\), got \(7, 5\)"):
        roi_align_rotated(features(), BOXES, 3)
    with pytest.raises(TypeError, match="boxes must be a tensor, got list"):
        roi_align_rotated(features(), [ROTATED], 3)  # type: ignore[arg-type]
