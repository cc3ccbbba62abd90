import numpy as np
import pytest
import torch
from golden import load_golden
from hypothesis import strategies as st
from pasting import example, intersection_over_union
from pycocotools import mask as coco_mask
from strategies import generator, in_memory, many_cases, memory, put, seeds, sizes, spikes

from pose2seg_ops import encode_rle, paste_masks, paste_rle


def encoded_masks(arguments, **options):
    return [encode_rle(masks) for masks in paste_masks(*arguments, **options)]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_equals_the_encoded_masks(backend, dtype, threshold):
    probabilities, matrices, batch_index, sizes = example(dtype)
    arguments = probabilities.to(backend.device), matrices.to(backend.device), batch_index, sizes
    encoded = backend.paste_rle(*arguments, threshold=threshold)
    masks = backend.paste_masks(*arguments, threshold=threshold)
    assert encoded == [encode_rle(of_image.cpu()) for of_image in masks]
    assert [[rle["size"] for rle in image] for image in encoded] == [[[21, 17]] * 2, [[13, 30]] * 3]


def test_images_of_very_different_sizes(backend):
    """Each mask has the number of stripes of its own image."""
    sizes = [(3, 300), (4, 1), (2, 1000), (40, 33)]
    batch_index = torch.tensor([3, 0, 2, 1, 2, 1, 2, 0, 3])
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(9, 6, 8, generator=generator)
    matrices = torch.tensor([[0.02, 0.0, 0.3], [0.0, 1.1, -0.2]]).repeat(9, 1, 1)
    matrices[:, 0, 0] *= torch.arange(1, 10)  # footprints from a few columns to the whole image
    arguments = probabilities.to(backend.device), matrices.to(backend.device), batch_index, sizes
    encoded = backend.paste_rle(*arguments)
    masks = backend.paste_masks(*arguments)
    assert encoded == [encode_rle(of_image.cpu()) for of_image in masks]
    assert all(of_image.any() for of_image in masks)


def test_equals_the_original(implementation):
    data = load_golden("paste.npz")
    sizes = [tuple(size) for size in data["size_hw"].tolist()]
    encoded = implementation.paste_rle(
        torch.from_numpy(data["prob"]).to(implementation.device),
        torch.from_numpy(data["H"][:, :2]).to(implementation.device),
        torch.arange(len(sizes)),
        sizes,
    )
    for i, ((rle,), (height, width)) in enumerate(zip(encoded, sizes, strict=True)):
        bits = np.unpackbits(data[f"mask{i:02d}"], count=height * width)
        expected, mask = bits.reshape(height, width).astype(bool), coco_mask.decode(rle).astype(bool)
        assert intersection_over_union(mask, expected) >= 0.99 or not (expected.any() or mask.any())


def random_example(seed: int, scale: float, dtype: torch.dtype):
    random = np.random.default_rng(seed)
    probabilities = torch.from_numpy(random.random((20, 6, 7)) ** random.integers(1, 4)).to(dtype)
    matrices = torch.from_numpy(random.normal(0, 1, (20, 2, 3)) * [[[scale, scale, 4]]])
    matrices = matrices.to(torch.float64 if dtype == torch.float64 else torch.float32)
    return probabilities, matrices, torch.from_numpy(random.integers(0, 3, 20)), [(70, 40), (1, 1), (20, 90)]


@many_cases(
    seed=seeds,
    roi=sizes(7),
    image=sizes(40),
    scale=st.sampled_from((1e-30, 1e-3, 0.1, 1.0, 10.0, 1e5, 1e30)),
    spiked_matrices=spikes(),
    spiked_probabilities=spikes(),
    threshold=st.sampled_from((0.0, 0.5, 1.0)),
    dtype=st.sampled_from((torch.float64, torch.float32, torch.float16, torch.bfloat16)),
    kind=memory,
)
def test_equals_the_encoded_masks_of_any_arguments(
    backend, seed, roi, image, scale, spiked_matrices, spiked_probabilities, threshold, dtype, kind
):
    random = generator(seed)
    probabilities = put(spiked_probabilities, torch.rand(3, *roi, generator=random).to(dtype))
    matrices = torch.randn(3, 2, 3, generator=random, dtype=torch.float64) * torch.tensor([scale, scale, 4])
    matrices = put(spiked_matrices, matrices.to(torch.float64 if dtype == torch.float64 else torch.float32))
    tensors = [in_memory(kind, tensor.to(backend.device)) for tensor in (probabilities, matrices)]
    arguments = *tensors, torch.randint(0, 2, (3,), generator=random), [image, (1, 9)]
    masks = backend.paste_masks(*arguments, threshold=threshold)
    assert backend.paste_rle(*arguments, threshold=threshold) == [encode_rle(m.cpu()) for m in masks]


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_every_backend_sets_the_same_pixels(backend, scale):
    arguments = random_example(5, scale, torch.float32)
    on_device = (*(a.to(backend.device) for a in arguments[:2]), *arguments[2:])
    assert backend.paste_rle(*on_device) == encoded_masks(arguments)


def test_more_runs_than_expected(backend):
    """Pastes magnified noise, which has more boundaries than the first buffer holds."""
    noise = torch.rand(1, 60, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    arguments = noise, torch.eye(2, 3, dtype=torch.float64)[None], torch.tensor([0]), [(70, 70)]
    on_device = (*(a.to(backend.device) for a in arguments[:2]), *arguments[2:])
    assert backend.paste_rle(*on_device) == encoded_masks(arguments)


def test_images_without_people(implementation):
    probabilities, matrices, batch_index, sizes = example()
    arguments = probabilities.to(implementation.device), matrices.to(implementation.device)
    encoded = implementation.paste_rle(*arguments, torch.zeros_like(batch_index), sizes)
    assert [len(image) for image in encoded] == [5, 0]
    assert implementation.paste_rle(*(a[:0] for a in arguments), batch_index[:0], sizes) == [[], []]


def test_no_mask_is_stored():
    """Masks of such a large image would take 16 GB."""
    probabilities, matrices = torch.ones(8, 4, 4), torch.eye(2, 3).expand(8, -1, -1)
    (encoded,) = paste_rle(probabilities, matrices, torch.zeros(8, dtype=torch.long), [(40_000, 50_000)])
    assert coco_mask.area(encoded).tolist() == [16] * 8


def test_passes_opcheck(backend):
    probabilities, matrices, batch_index, sizes = example()
    flat = [number for size in sizes for number in size]
    arguments = probabilities.to(backend.device), matrices.to(backend.device), batch_index, flat, 0.5
    torch.library.opcheck(backend.operators.paste_rle.default, arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"probabilities": torch.zeros(5, 1, 8, 10)}, ValueError, r"probabilities must be \(N, h, w\), got \(5, 1, 8, 10\)"),
        ({"probabilities": torch.zeros(5, 8, 10).byte()}, TypeError, "probabilities must be float32, .* got uint8"),
        ({"probabilities": torch.zeros(5, 8, 10, device="meta").double()}, ValueError, "matrices must be on meta as probabilities is, got cpu"),
        ({"matrices": torch.zeros(5, 3, 3).double()}, ValueError, r"matrices must be \(N, 2, 3\), .* got \(5, 3, 3\)"),
        ({"matrices": torch.zeros(5, 2, 3, device="meta").double()}, ValueError, "matrices must be on cpu as probabilities is, got meta"),
        ({"batch_index": torch.tensor([0, -1, 0, 0, 0])}, ValueError, "batch_index must name .* got -1 at 1"),
        ({"batch_index": torch.zeros(5, device="meta").long()}, ValueError, "batch_index must be on cpu, or where probabilities is, got meta"),
        ({"image_sizes": [(4, 4), (0, 3)]}, ValueError, r"image_sizes must be a positive \(height, width\), got \(0, 3\)"),
        ({"image_sizes": [(4, 4), (3, -1)]}, ValueError, r"image_sizes must be a positive \(height, width\), got \(3, -1\)"),
        ({"image_sizes": []}, ValueError, "batch_index must name one of the 0 images .* got 1 at 0"),
        ({"threshold": torch.nan}, ValueError, r"threshold must be in \[0, 1\], got nan"),
        ({"matrices": torch.zeros(5, 2, 3)}, TypeError, "matrices must be float64 with float64 probabilities, got float32"),
        ({"batch_index": torch.tensor([0, 0, 0, 2, 0])}, ValueError, "batch_index must name one of the 2 images .* got 2 at 3"),
        ({"batch_index": torch.zeros(5)}, TypeError, "batch_index must be int64, got float32"),
        ({"image_sizes": [(4, 4), (1 << 16, 1 << 15)]}, ValueError, r"image_sizes must have fewer than 2\^31 pixels each, got 65536 x 32768"),
        ({"image_sizes": [(4, 4), (1, 1 << 40)]}, ValueError, "image_sizes must be such that the masks fit in memory"),
        ({"threshold": -0.1}, ValueError, r"threshold must be in \[0, 1\], got -0.1"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, message):
    arguments = dict(zip(("probabilities", "matrices", "batch_index", "image_sizes"), example(), strict=True))
    arguments["batch_index"] = torch.ones(5, dtype=torch.long)
    with pytest.raises(error, match=message):
        paste_rle(**(arguments | change))
