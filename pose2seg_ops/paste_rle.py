"""Mask pasting straight to run-length encodings, without storing masks of the size of an image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ._arguments import as_pairs
from ._operator import Operator
from ._rle import RLE, as_bytes, as_tensors


def paste_rle(
    probabilities: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    image_sizes: Sequence[Sequence[int]],
    *,
    threshold: float = 0.5,
) -> list[list[RLE]]:
    """Returns the run-length encodings of the masks that `paste_masks` returns for the same arguments.

    The result equals `encode_rle` of each of those masks, byte for byte. Only the footprint of each map is
    sampled, and only the boundaries of runs are stored, so memory grows with the outline of a mask instead of
    with the image. On a CUDA device, where the length of the outline is data-dependent, memory grows with the
    width of the image of each map.

    Args:
        probabilities, matrices, batch_index, image_sizes, threshold: As in `paste_masks`. Pass `batch_index`
            on the CPU: copying it from a CUDA device synchronises once more.

    Returns:
        One list per image: the dicts of its masks, as in `encode_rle`, in the order of the instances.
        Synchronisation and torch.compile behave as described there.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, size, threshold or image index is invalid, or an image has 2^31 pixels or
            more.
        NotImplementedError: if the device is neither cpu nor cuda.

    Source: see `paste_masks` and `encode_rle`.
    """
    index = batch_index.cpu() if getattr(batch_index, "is_cuda", False) else batch_index  # read once
    sizes = as_pairs(image_sizes, "image_sizes")
    encoded = _paste_rle(probabilities, matrices, index, sizes, threshold)
    per_image: list[list[RLE]] = [[] for _ in sizes]
    for image, counts in zip(index.tolist(), encoded, strict=True):
        per_image[image].append({"size": list(sizes[image]), "counts": counts})
    return per_image


def _fake(
    probabilities: Tensor, matrices: Tensor, batch_index: Tensor, image_sizes: Sequence[int], threshold: float
) -> tuple[Tensor, Tensor]:
    characters = torch.library.get_ctx().new_dynamic_size()
    return torch.empty(characters, dtype=torch.uint8), torch.empty(matrices.shape[0], dtype=torch.int64)


_paste_rle = Operator(
    "paste_rle(Tensor probabilities, Tensor matrices, Tensor batch_index, SymInt[] image_sizes, "
    "float threshold) -> (Tensor, Tensor)",
    _fake,
    pairs=("image_sizes",),
    geometry=("matrices",),
    as_tensors=as_tensors,
    from_tensors=as_bytes,
)
