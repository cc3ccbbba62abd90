"""Pasting straight to run lengths: no mask of the size of an image is ever stored."""

from collections.abc import Sequence

import torch
from torch import Tensor

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
    """The run lengths of the masks that `paste_masks` would give, from the same arguments.

    Equal to `encode_rle` of each of those masks, byte for byte. Only each map's footprint in its image is
    sampled, and only where its columns change is stored: memory grows with the outline, not with the image.

    Args:
        probabilities, matrices, batch_index, image_sizes, threshold: As in `paste_masks`. Leave `batch_index`
            on the CPU: on a CUDA device it is read back, which is one more wait for the device.

    Returns:
        Per image the dicts of its masks, as in `encode_rle`, in the order of the instances. What that says of
        waiting for a CUDA device and of torch.compile holds here as well.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, size, threshold or image index is not, or an image has 2^31 pixels or more.
        NotImplementedError: if the device is neither cpu nor cuda.

    Source: as of `paste_masks` and `encode_rle`.
    """
    index = batch_index.cpu() if getattr(batch_index, "is_cuda", False) else batch_index  # read once
    encoded = _paste_rle(probabilities, matrices, index, image_sizes, threshold)
    sizes = [list(map(int, size)) for size in image_sizes]
    per_image: list[list[RLE]] = [[] for _ in sizes]
    for image, counts in zip(index.tolist(), encoded, strict=True):
        per_image[image].append({"size": sizes[image], "counts": counts})
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
