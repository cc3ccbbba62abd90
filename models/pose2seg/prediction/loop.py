"""The prediction loop: it reads images ahead, runs the network on batches, and yields masks."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from pose2seg.common import distributed
from pose2seg.data.posed_images import Content
from pose2seg.data.read_ahead import read_ahead
from pose2seg.network.model import Pose2Seg, Probabilities
from pose2seg_ops import RLE, paste_masks, paste_rle

Item = TypeVar("Item")


@dataclass(frozen=True)
class Masks(Generic[Item]):
    """The masks of one item, in the order of its people.

    qualities: the estimated IoU of each mask, see `Probabilities.quality`.
    seconds: the time of the network and the pasting, as the mean over the item's batch.
    opacities: 255 times the probability of every pixel; None if they were not requested.
    """

    item: Item
    content: Content
    masks: list[RLE]
    qualities: list[float]
    seconds: float
    opacities: "Opacities | None" = None


class Opacities(Sequence[npt.NDArray[np.uint8]]):
    """The opacities of the people in an image, (H, W) uint8 each, computed when they are accessed."""

    def __init__(self, probabilities: Probabilities, image: int) -> None:
        people = (probabilities.batch_index == image).nonzero()[:, 0]
        where = people.to(probabilities.probabilities.device)
        self._probabilities = probabilities.probabilities[where]
        self._matrices = probabilities.matrices[where]
        self._size = probabilities.image_sizes[image]

    def __len__(self) -> int:
        return len(self._matrices)

    def __getitem__(self, index: Any) -> Any:
        person = slice(index, index + 1)
        one = self._probabilities[person], self._matrices[person], torch.tensor([0])
        (opacities,) = paste_masks(*one, [self._size], threshold=None)
        return opacities[0].cpu().numpy()


@dataclass(frozen=True)
class Unread(Generic[Item]):
    """An item that could not be read, and the reason in one line."""

    item: Item
    problem: str


def predict_masks(
    model: Pose2Seg,
    items: Sequence[Item],
    read: Callable[[Item], Content | str],
    *,
    batch_size: int,
    title: str,
    threshold: float,
    soft: bool = False,
    is_done: Callable[[Item], bool] = lambda _: False,
    progress: bool = True,
) -> Iterator[list[Masks[Item] | Unread[Item]]]:
    """Yields this process's batches of items, each item with masks or with the reason that it was not read.

    The division into batches does not depend on the number of processes, or on what was done before, so that
    the masks are always bitwise the same.

    read: returns an image and its poses, or in one line why it cannot; called in threads, one batch ahead.
    title: the title of the progress bar.
    soft: whether to compute opacities too.
    is_done: returns whether an item is to be skipped.
    """
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    left = [[item for item in batch if not is_done(item)] for batch in batches]
    mine = [batch for batch in left if batch][distributed.rank() :: distributed.count()]
    hidden = None if progress and distributed.rank() == 0 else True
    with (
        tqdm(total=sum(map(len, mine)), desc=title, unit="image", disable=hidden) as bar,
        closing(read_ahead(mine, read)) as ready,  # stops the threads at once, however the loop ends
    ):
        for batch in ready:
            yield _predict_batch(model, batch, threshold, soft)
            bar.update(len(batch))


def _predict_batch(
    model: Pose2Seg, batch: Sequence[tuple[Item, Content | str]], threshold: float, soft: bool
) -> list[Masks[Item] | Unread[Item]]:
    contents = [content for _, content in batch if isinstance(content, Content)]
    start = time.perf_counter()
    predicted: list[list[RLE]] = []
    opacities: Sequence[Opacities | None] = [None] * len(contents)
    qualities: Iterator[float] = iter(())  # of everybody, image by image
    if contents:
        images, poses = zip(*contents, strict=True)
        probabilities = model.predict_probabilities(images, [of_image.keypoints for of_image in poses])
        predicted = paste_rle(*probabilities, threshold=threshold)
        qualities = iter(probabilities.quality(threshold).tolist())
        if soft:
            opacities = [Opacities(probabilities, i) for i in range(len(contents))]
    seconds = (time.perf_counter() - start) / max(1, len(contents))
    of_each = zip(predicted, opacities, strict=True)
    finished: list[Masks[Item] | Unread[Item]] = []
    for item, content in batch:
        if isinstance(content, str):
            finished.append(Unread(item, content))
        else:
            masks, soft_masks = next(of_each)
            of_image = list(islice(qualities, len(masks)))
            finished.append(Masks(item, content, masks, of_image, seconds, soft_masks))
    return finished
