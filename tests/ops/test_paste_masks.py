import numpy as np
import oracles
import pytest
import torch
from golden import load_golden
from hypothesis import strategies as st
from pasting import example, intersection_over_union
from ptxrun.arithmetic import fma_float32, fma_float64
from strategies import generator, in_memory, many_cases, memory, put, seeds, sizes, spikes

from pose2seg_ops import affine_align, paste_masks, reference


def test_equals_the_original(implementation):
    data = load_golden("paste.npz")
    sizes = [tuple(size) for size in data["size_hw"].tolist()]
    masks = implementation.paste_masks(
        torch.from_numpy(data["prob"]).to(implementation.device),
        torch.from_numpy(data["H"][:, :2]).to(implementation.device),
        torch.arange(len(sizes)),
        sizes,
    )
    empty = 0
    for i, (mask, (height, width)) in enumerate(zip(masks, sizes, strict=True)):
        expected = (
            np.unpackbits(data[f"mask{i:02d}"], count=height * width).reshape(height, width).astype(bool)
        )
        assert mask.shape == (1, height, width)
        if not expected.any():
            empty += 1
            assert not mask.any()
        else:
            assert intersection_over_union(mask[0].cpu().numpy(), expected) >= 0.99
    assert empty == 2


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_equals_the_float64_oracle(implementation, dtype, threshold):
    probabilities, matrices, batch_index, sizes = example(dtype)
    masks = implementation.paste_masks(
        probabilities.to(implementation.device),
        matrices.to(implementation.device),
        batch_index,
        sizes,
        threshold=threshold,
    )
    for image, size in enumerate(sizes):
        people = (batch_index == image).nonzero()[:, 0].tolist()
        assert masks[image].dtype == torch.bool
        assert masks[image].shape == (len(people), *size)
        for mask, person in zip(masks[image].cpu().numpy(), people, strict=True):
            values = oracles.warp(
                probabilities[person].double().numpy(), oracles.square(matrices[person]), size
            )
            # A pixel may fall on either side of the threshold only if it is within float32 rounding of it.
            decided = np.abs(values - threshold) > 1e-5 if dtype != torch.float64 else values == values
            np.testing.assert_array_equal(mask[decided], (values > threshold)[decided])
            assert decided.mean() > 0.5 or threshold == 0
    assert sum(mask.sum() for mask in masks) > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_opacities_are_the_nearest_steps_of_the_float64_oracle(implementation, dtype):
    probabilities, matrices, batch_index, sizes = example(dtype)
    arguments = probabilities.to(implementation.device), matrices.to(implementation.device), batch_index
    opacities = implementation.paste_masks(*arguments, sizes, threshold=None)
    for image, size in enumerate(sizes):
        people = (batch_index == image).nonzero()[:, 0].tolist()
        assert opacities[image].dtype == torch.uint8
        assert opacities[image].shape == (len(people), *size)
        for actual, person in zip(opacities[image].cpu().numpy(), people, strict=True):
            values = oracles.warp(
                probabilities[person].double().numpy(), oracles.square(matrices[person]), size
            )
            error = np.abs(actual - 255 * values)
            assert error.max() <= 0.5 + (1e-9 if dtype == torch.float64 else 1e-2)
    assert sum(of_image.sum() for of_image in opacities) > 0


def test_opacities_outside_of_0_to_1_are_its_ends(implementation):
    values = torch.tensor([-1e30, -0.1, torch.nan, 0.5, 1.5, torch.inf, -torch.inf, 1 / 255])
    matrices = torch.eye(2, 3)[None].to(implementation.device)
    probabilities = values[None, None].to(implementation.device)
    (pasted,) = implementation.paste_masks(
        probabilities[..., [0, 0, 1, 1, 2, 3, 3, 4, 4]], matrices, torch.tensor([0]), [(1, 9)], threshold=None
    )
    assert pasted.flatten().tolist() == [0, 0, 0, 0, 0, 128, 128, 255, 255]
    for value in (torch.inf, -torch.inf):
        each = torch.full((1, 1, 1), value, device=implementation.device)
        (pasted,) = implementation.paste_masks(each, matrices, torch.tensor([0]), [(1, 1)], threshold=None)
        assert pasted.item() in (0, 255 * (value > 0))  # infinity by a weight of 0 is NaN


def test_opacities_have_the_gradient_that_affine_align_gives():
    """What the documentation names for probabilities that need a gradient gives the same numbers."""
    probabilities, matrices, _, _ = example()
    square = torch.cat([matrices, torch.tensor([[[0.0, 0.0, 1.0]]], dtype=torch.float64).expand(5, 1, 3)], 1)
    inverse = torch.linalg.inv(square)[:, :2]
    pasted = affine_align(probabilities[:, None].requires_grad_(), inverse, torch.arange(5), (21, 17))
    (opacities,) = paste_masks(
        probabilities.detach(), matrices, torch.zeros(5, dtype=torch.long), [(21, 17)], threshold=None
    )
    assert (opacities - 255 * pasted[:, 0]).abs().max() <= 0.5 + 1e-9
    assert pasted.requires_grad


@pytest.mark.parametrize("threshold", [0.5, None])
def test_random_windows_agree_with_the_reference(backend, threshold):
    random = np.random.default_rng(1)
    probabilities = torch.from_numpy(random.random((150, 6, 7)))
    matrices = torch.from_numpy(random.normal(0, 1, (150, 2, 3)) * [[[1, 1, 4]]])
    batch_index = torch.from_numpy(random.integers(0, 3, 150))
    sizes = [(9, 11), (1, 1), (20, 5)]
    masks = backend.paste_masks(
        probabilities.to(backend.device), matrices.to(backend.device), batch_index, sizes, threshold=threshold
    )
    expected = reference.paste_masks(probabilities, matrices, batch_index, sizes, threshold=threshold)
    for actual, wanted in zip(masks, expected, strict=True):
        assert torch.equal(actual.cpu(), wanted)
        assert wanted.any()


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, 1e30])
def test_degenerate_matrices(implementation, value):
    matrices = torch.tensor([[[value, 0.0, 1.0], [0.0, value, 1.0]]], device=implementation.device)
    probabilities = torch.ones(1, 4, 4, device=implementation.device)
    (mask,) = implementation.paste_masks(probabilities, matrices, torch.tensor([0]), [(5, 6)])
    assert mask.shape == (1, 5, 6)
    assert mask.sum() == (1 if value == 1e30 else 0)


def test_a_matrix_whose_determinant_is_beyond_float64(implementation):
    """Every pixel of the image maps to the same point of the map."""
    matrices = torch.tensor([[[1e-200, 0, 1], [0, 1e-200, 1]]], dtype=torch.float64)
    probabilities = torch.ones(1, 4, 4, dtype=torch.float64)
    arguments = (tensor.to(implementation.device) for tensor in (probabilities, matrices))
    (masks,) = implementation.paste_masks(*arguments, torch.tensor([0]), [(5, 7)])
    assert masks.all()


def test_images_without_people(implementation):
    probabilities, matrices, _, sizes = example()
    arguments = probabilities.to(implementation.device), matrices.to(implementation.device)
    masks = implementation.paste_masks(*arguments, torch.zeros(5, dtype=torch.long), sizes)
    assert [tuple(mask.shape) for mask in masks] == [(5, 21, 17), (0, 13, 30)]
    masks = implementation.paste_masks(*(a[:0] for a in arguments), torch.zeros(0, dtype=torch.long), sizes)
    assert [tuple(mask.shape) for mask in masks] == [(0, 21, 17), (0, 13, 30)]


@many_cases(
    seed=seeds,
    scale=st.sampled_from((1e-30, 1e-5, 0.02, 0.1, 1.0, 10.0, 1e5, 1e30)),
    shift=st.sampled_from((0.0, -0.0, 4.0, 1e4, 1e30)),
    roi=sizes(11),
    image=st.tuples(st.integers(1, 20), st.integers(1, 70)),
    spiked_matrices=spikes(),
    spiked_probabilities=spikes(),
    dtype=st.sampled_from((torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16)),
    kind=memory,
    saturated=st.booleans(),
)
def test_every_pixel_equals_the_plain_formula(
    backend, seed, scale, shift, roi, image, spiked_matrices, spiked_probabilities, dtype, kind, saturated
):
    """Compares pixel by pixel in the precision of the op: no optimisation may change a mask."""
    random = generator(seed)
    geometry = torch.float64 if dtype == torch.float64 else torch.float32
    probabilities = torch.rand(3, *roi, generator=random)
    if saturated:  # nearly all of them close to 0 or 1, as a network's are
        probabilities = (20 * (probabilities - 0.5)).sigmoid()
    probabilities = put(spiked_probabilities, probabilities.to(dtype))
    matrices = torch.randn(3, 2, 3, generator=random) * torch.tensor([scale, scale, shift])
    matrices = put(spiked_matrices, matrices.to(geometry))
    tensors = [in_memory(kind, tensor.to(backend.device)) for tensor in (probabilities, matrices)]
    (masks,) = backend.paste_masks(*tensors, torch.zeros(3, dtype=torch.long), [image])
    mean = pasted(probabilities.to(geometry).numpy(), matrices.numpy(), image)
    np.testing.assert_array_equal(masks.cpu().numpy(), mean > 0.5)
    (opacities,) = backend.paste_masks(*tensors, torch.zeros(3, dtype=torch.long), [image], threshold=None)
    within = np.clip(np.nan_to_num(mean, nan=0, posinf=1, neginf=0), 0, 1)
    rounded = fused(within, within.dtype.type(255), within.dtype.type(0.5)).astype(np.uint8)
    np.testing.assert_array_equal(opacities.cpu().numpy(), rounded)


def fused(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Returns a * b + c, rounded once."""
    return (fma_float64 if a.dtype == np.float64 else fma_float32)(*np.broadcast_arrays(a, b, c))


def pasted(probabilities: np.ndarray, matrices: np.ndarray, image: tuple[int, int]) -> np.ndarray:
    """Returns the probability, computed in the dtype of the arguments at every pixel; 0 without an inverse."""
    dtype, (_, roi_height, roi_width) = matrices.dtype.type, probabilities.shape
    m = matrices[..., None, None]
    rows, columns = np.arange(image[0], dtype=dtype)[:, None], np.arange(image[1], dtype=dtype)
    with np.errstate(all="ignore"):
        x, y = (fused(m[:, i, 0], columns, fused(m[:, i, 1], rows, m[:, i, 2])) for i in (0, 1))
        inside = (x > -1) & (x < roi_width) & (y > -1) & (y < roi_height)
        x, y = np.where(inside, x, 0), np.where(inside, y, 0)
        left, upper = np.floor(x), np.floor(y)
        padded = np.pad(probabilities, ((0, 0), (1, 1), (1, 1)))
        right, lower = x - left, y - upper
        person = np.arange(len(matrices))[:, None, None]
        tap = lambda dx, dy: padded[person, upper.astype(int) + 1 + dy, left.astype(int) + 1 + dx]  # noqa: E731
        above = fused(right, tap(1, 0) - tap(0, 0), tap(0, 0))
        below = fused(right, tap(1, 1) - tap(0, 1), tap(0, 1))
        mean = fused(lower, below - above, above)
        a, b, c, d, e, f = matrices.astype(np.float64).reshape(-1, 6).T
        inverse = np.stack((e, b, b * f - c * e, d, a, c * d - a * f)) / (a * e - b * d)
        invertible = np.isfinite(1 / (a * e - b * d)) & np.isfinite(inverse).all(0)
    return np.where(inside & invertible[:, None, None], mean, dtype(0))


@pytest.mark.parametrize("threshold", [0.5, None])
def test_passes_opcheck(backend, threshold):
    probabilities, matrices, batch_index, sizes = example()
    flat = [number for size in sizes for number in size]
    arguments = probabilities.to(backend.device), matrices.to(backend.device), batch_index, flat, threshold
    torch.library.opcheck(backend.operators.paste_masks.default, arguments)


def test_compiles_without_graph_breaks(backend):
    """Also covers a data-dependent number of masks per image."""

    def areas(probabilities, matrices, batch_index):
        masks = backend.paste_masks(probabilities, matrices, batch_index, [(21, 17), (13, 30)])
        return [of_image.sum((1, 2)) for of_image in masks]

    compiled = torch.compile(areas, fullgraph=True, backend="aot_eager")
    probabilities, matrices, batch_index, _ = example()
    probabilities, matrices = probabilities.to(backend.device), matrices.to(backend.device)
    for index in (batch_index, 1 - batch_index, torch.zeros_like(batch_index)):
        for actual, wanted in zip(
            compiled(probabilities, matrices, index), areas(probabilities, matrices, index), strict=True
        ):
            assert torch.equal(actual, wanted)


@pytest.mark.filterwarnings("error")
def test_a_graph_breaks_at_it_without_a_warning(backend):
    arguments = [value.to(backend.device) for value in example()[:3]]
    area = torch.compile(
        lambda *tensors: backend.paste_masks(*tensors, [(21, 17)] * 2)[0].sum(), backend="eager"
    )
    torch._dynamo.reset()
    assert area(*arguments) == backend.paste_masks(*arguments, [(21, 17)] * 2)[0].sum()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"probabilities": torch.zeros(5, 1, 8, 10)}, ValueError, r"probabilities must be \(N, h, w\), got \(5, 1, 8, 10\)"),
        ({"probabilities": torch.zeros(5, 8, 10).byte()}, TypeError, "probabilities must be float32, .* got uint8"),
        ({"probabilities": torch.zeros(5, 8, 10, device="meta").double()}, ValueError, "matrices must be on meta as probabilities is, got cpu"),
        ({"probabilities": torch.zeros(1).double().expand(5, 8, 1 << 15)}, ValueError, "probabilities must be maps of less than 32768 x 32768, got 8 x 32768"),
        ({"matrices": torch.zeros(5, 3, 3).double()}, ValueError, r"matrices must be \(N, 2, 3\), .* got \(5, 3, 3\)"),
        ({"matrices": torch.zeros(5, 2, 3, device="meta").double()}, ValueError, "matrices must be on cpu as probabilities is, got meta"),
        ({"batch_index": torch.zeros(5)}, TypeError, "batch_index must be int64, got float32"),
        ({"batch_index": torch.zeros(4).long()}, ValueError, r"batch_index must be \(5,\), .* got \(4,\)"),
        ({"batch_index": torch.zeros(5, device="meta").long()}, ValueError, "batch_index must be on cpu, or where probabilities is, got meta"),
        ({"image_sizes": []}, ValueError, "batch_index must name one of the 0 images .* got 1 at 0"),
        ({"image_sizes": [(4, 4), (3, -1)]}, ValueError, r"image_sizes must be a positive \(height, width\), got \(3, -1\)"),
        ({"threshold": 1.5}, ValueError, r"threshold must be in \[0, 1\], got 1.5"),
        ({"matrices": torch.zeros(4, 2, 3).double()}, ValueError, r"matrices must be \(N, 2, 3\), .* got \(4, 2, 3\)"),
        ({"matrices": torch.zeros(5, 2, 3)}, TypeError, "matrices must be float64 with float64 probabilities, got float32"),
        ({"batch_index": torch.tensor([0, 0, 0, 2, 0])}, ValueError, "batch_index must name one of the 2 images .* got 2 at 3"),
        ({"batch_index": torch.tensor([0, -1, 0, 0, 0])}, ValueError, "batch_index must name .* got -1 at 1"),
        ({"image_sizes": [(4, 4), (0, 3)]}, ValueError, r"image_sizes must be a positive \(height, width\), got \(0, 3\)"),
        ({"image_sizes": [4, 4]}, TypeError, "image_sizes must be pairs of integers, got 4"),
        ({"image_sizes": [(4, 4), (2**62, 3)]}, ValueError, "image_sizes must be such that the masks fit in memory"),
        ({"threshold": -0.1}, ValueError, r"threshold must be in \[0, 1\], got -0.1"),
        ({"threshold": torch.nan}, ValueError, r"threshold must be in \[0, 1\], got nan"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, message):
    arguments = dict(zip(("probabilities", "matrices", "batch_index", "image_sizes"), example(), strict=True))
    with pytest.raises(error, match=message):
        paste_masks(**(arguments | change))
