import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from strategies import generator, in_memory, many_cases, memory, seeds

from pose2seg_ops import encode_rle


def pycocotools_rle(masks: torch.Tensor) -> list[dict[str, object]]:
    pixels = (masks.cpu().numpy() != 0).astype(np.uint8)
    return coco_mask.encode(np.asfortranarray(pixels.transpose(1, 2, 0))) if len(pixels) else []


def blobs(count: int, height: int, width: int) -> torch.Tensor:
    """Returns ellipses, which have few runs per column, like masks of people."""
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    centres = torch.linspace(-0.6, 0.6, count)[:, None, None]
    return (x - centres) ** 2 + 2 * (y + centres) ** 2 < 0.4


def checkerboard(height: int, width: int) -> torch.Tensor:
    return (torch.arange(height)[:, None] + torch.arange(width)) % 2


MASKS = {
    "blobs": blobs(5, 40, 70),
    "random": torch.rand(3, 33, 65, generator=torch.Generator().manual_seed(0)) < 0.5,
    "sparse": torch.rand(3, 65, 33, generator=torch.Generator().manual_seed(0)) < 0.01,
    "empty": torch.zeros(2, 13, 40, dtype=torch.bool),
    "full": torch.ones(2, 13, 40, dtype=torch.bool),
    "one row": torch.tensor([[[1, 0, 0, 1, 1, 1, 0]]], dtype=torch.uint8),
    "one column": torch.tensor([[[0], [0], [1], [1], [0]]], dtype=torch.uint8),
    "one pixel": torch.tensor([[[0]], [[1]]], dtype=torch.uint8),
    "checkerboard": torch.stack((checkerboard(12, 37), 1 - checkerboard(12, 37))).byte(),
    "full columns": (torch.arange(50) % 3 > 0).expand(2, 20, 50),
    "last pixel": torch.arange(60).reshape(1, 6, 10) == 59,
    "0 and 255": 255 * (torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.5).byte(),
    "many runs": torch.rand(2, 64, 100, generator=torch.Generator().manual_seed(1)) < 0.4,
    "long runs": torch.arange(40_000).reshape(1, 20_000, 2) % 32_000 < 9_000,
    "no pixels": torch.zeros(2, 0, 5, dtype=torch.bool),
    "no columns": torch.zeros(2, 5, 0, dtype=torch.bool),
    "no masks": torch.zeros(0, 4, 5, dtype=torch.bool),
}


@pytest.mark.parametrize("name", MASKS)
def test_equals_pycocotools(implementation, name):
    masks = MASKS[name]
    encoded = implementation.encode_rle(masks.to(implementation.device))
    assert encoded == pycocotools_rle(masks)
    if masks.numel():
        decoded = coco_mask.decode(encoded).transpose(2, 0, 1)
        np.testing.assert_array_equal(decoded, masks.numpy() != 0)


@pytest.mark.parametrize("density", [0.001, 0.5])
def test_large_masks(implementation, density):
    """The denser mask has more runs than the first buffer holds."""
    height, width = (200, 300) if implementation.name == "emulated" else (2000, 3000)
    masks = torch.rand(1, height, width, generator=torch.Generator().manual_seed(0)) < density
    masks[:, height // 4 : height // 2, width // 3 : width // 2] = True
    assert implementation.encode_rle(masks.to(implementation.device)) == pycocotools_rle(masks)


def test_every_nonzero_value_belongs_to_the_mask(implementation):
    masks = torch.randint(0, 4, (2, 30, 40), dtype=torch.uint8)
    expected = pycocotools_rle(masks)
    assert implementation.encode_rle(masks.to(implementation.device)) == expected
    assert implementation.encode_rle((masks != 0).to(implementation.device)) == expected


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[:, 3:-1, 5:-2],
        lambda t: t[::2, ::3, ::2],
        lambda t: t.transpose(1, 2),
        lambda t: t.flip(2),
        lambda t: t[:1].expand(3, -1, -1),
        lambda t: t[:, :, 7:8],
        lambda t: t[:, :1, :1].expand(-1, 9, 11),
    ],
    ids=["slice", "stepped", "transposed", "flipped", "expanded masks", "one column", "expanded pixel"],
)
def test_any_strides(implementation, view):
    masks = torch.rand(3, 41, 71, generator=torch.Generator().manual_seed(1)) < 0.3
    viewed = view(masks.to(implementation.device))
    assert implementation.encode_rle(viewed) == pycocotools_rle(view(masks))


@many_cases(
    seed=seeds,
    shape=st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 80)),
    density=st.floats(0, 1),
    largest=st.sampled_from((1, 255)),
    dtype=st.sampled_from((torch.bool, torch.uint8)),
    kind=memory,
)
def test_equals_pycocotools_on_any_masks(backend, seed, shape, density, largest, dtype, kind):
    random = generator(seed)
    values = torch.randint(1, largest + 1, shape, generator=random, dtype=torch.uint8)
    masks = (values * (torch.rand(shape, generator=random) < density)).to(dtype)
    assert backend.encode_rle(in_memory(kind, masks.to(backend.device))) == pycocotools_rle(masks)


def test_passes_opcheck(backend):
    torch.library.opcheck(backend.operators.encode_rle.default, (blobs(3, 20, 30).to(backend.device),))


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        (torch.zeros(4, 5), ValueError, r"masks must be \(N, H, W\), got \(4, 5\)"),
        (torch.zeros(1, 1, 4, 5).bool(), ValueError, r"masks must be \(N, H, W\), got \(1, 1, 4, 5\)"),
        (torch.zeros(1, 4, 5).long(), TypeError, "masks must be bool or uint8, got int64"),
        (torch.zeros(1, 4, 5), TypeError, "masks must be bool or uint8, got float32"),
        (torch.zeros(1, 4, 5, device="meta").bool(), NotImplementedError, "masks must be on a cpu or cuda device, got meta"),
        (torch.zeros(1, 1, 1).bool().expand(1, 1 << 16, 1 << 15), ValueError, r"masks must have fewer than 2\^31 pixels each, got 65536 x 32768"),
    ],
)  # fmt: skip
def test_bad_arguments(masks, error, message):
    with pytest.raises(error, match=message):
        encode_rle(masks)
