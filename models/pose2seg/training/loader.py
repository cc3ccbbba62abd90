"""Batches from a dataset. Workers decode images and change colours; the training process does the rest.

All random numbers depend only on the seed, the epoch and the index of the image, so that a run sees the
same data if it is stopped and resumed, and with any number of processes.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pose2seg.common.errors import InputError
from pose2seg.common.gone import problem_with
from pose2seg.common.text import shown
from pose2seg.data.annotated_masks import decode
from pose2seg.data.dataset import PersonImage
from pose2seg.network.model import ALIGN_SIZE
from pose2seg.training.augmentation import Crop, Matrix, compose, inverse, is_inside, transform_poses
from pose2seg.training.detected import as_detected
from pose2seg.training.paste import Scene, draw_place, paste
from pose2seg.training.recipe import AUGMENTATION, ORDER, PEOPLE, Recipe


class Draw(NamedTuple):
    """An image of the dataset, and the people in it who were drawn for this epoch."""

    epoch: int
    image: int
    people: list[int]


class Sample(NamedTuple):
    """An image prepared by a worker, with the fields of `Batch`."""

    image: Tensor
    to_input: Tensor
    masks: Tensor
    keypoints: Tensor
    augmentation: Tensor
    problems: list[str]


class Batch(NamedTuple):
    """B images with N people.

    images: B images, uint8 (H, W, 3) BGR each.
    to_input: (B, 2, 3) float32, image -> network input.
    masks: the masks of the people in each image, uint8 (n, H, W).
    keypoints: (N, 17, 3) float32, x, y in pixels of the network input, COCO visibility.
    augmentation: (N, 2, 3) float32, the random transform of each person within the crop.
    batch_index: (N,) int64, the image that each person is in.
    problems: messages about images that could not be read and were replaced by others.
    """

    images: list[Tensor]
    to_input: Tensor
    masks: list[Tensor]
    keypoints: Tensor
    augmentation: Tensor
    batch_index: Tensor
    problems: list[str]

    def shifted(self, by: tuple[int, int]) -> "Batch":
        """Returns the batch for a larger network input, in which this one begins at pixel (x, y) = `by`."""
        shift = self.to_input.new_tensor([[0, 0, by[0]], [0, 0, by[1]]])
        return self._replace(
            to_input=self.to_input + shift, keypoints=self.keypoints + self.keypoints.new_tensor([*by, 0])
        )

    def to(self, device: torch.device) -> "Batch":
        """Returns the batch on a device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(
            [moved(image) for image in self.images],
            moved(self.to_input),
            [moved(masks) for masks in self.masks],
            moved(self.keypoints),
            moved(self.augmentation),
            moved(self.batch_index),
            self.problems,
        )


class BatchSampler(Sampler[list[Draw]]):
    """Yields the images that this process uses in each step. They are shuffled in every epoch.

    The last batch of an epoch is filled with images from the beginning of the epoch. To start at any step,
    set `epoch` and `first_step` before iterating.
    """

    def __init__(
        self, people_counts: Sequence[int], recipe: Recipe, rank: int = 0, processes: int = 1
    ) -> None:
        self.epoch = 0
        self.first_step = 0
        self._counts = people_counts
        self._recipe = recipe
        self._rank, self._processes = rank, processes
        self.steps_per_epoch = recipe.steps_per_epoch(len(people_counts))

    def __len__(self) -> int:
        return self.steps_per_epoch - self.first_step

    def __iter__(self) -> Iterator[list[Draw]]:
        size = self._recipe.batch_size
        order = self._recipe.random(ORDER, self.epoch).permutation(len(self._counts))
        order = np.resize(order, self.steps_per_epoch * size)
        for step in range(self.first_step, self.steps_per_epoch):
            draws = self._draw_people(order[step * size : (step + 1) * size].tolist())
            yield draws[self._rank :: self._processes]

    def _draw_people(self, images: list[int]) -> list[Draw]:
        """Draws one person of each image, and then others, up to the recipe's number of people."""
        keys = [
            self._recipe.random(PEOPLE, self.epoch, index).random(self._counts[index]) for index in images
        ]
        chosen = [[int(of_image.argmin())] for of_image in keys]
        others = sorted(
            (key, place, person)
            for place, of_image in enumerate(keys)
            for person, key in enumerate(of_image)
            if person not in chosen[place]
        )
        for _, place, person in others[: self._recipe.people - len(images)]:
            chosen[place].append(person)
        return [Draw(self.epoch, index, people) for index, people in zip(images, chosen, strict=True)]


class TrainingSamples(Dataset[Sample]):
    """The sample of each draw. If an image cannot be read, the next image is used instead.

    Raises GoneError if an image is gone that `read_dataset` found.
    """

    def __init__(self, images: Sequence[PersonImage], recipe: Recipe) -> None:
        self._images = images
        self._recipe = recipe

    def __getitem__(self, draw: Draw) -> Sample:
        problems: list[str] = []
        for offset in range(len(self._images)):
            index = (draw.image + offset) % len(self._images)
            try:
                pixels = self._images[index].read()
            except (InputError, OSError) as error:
                problems.append(_problem(self._images[index], error))
            else:
                people = draw.people if offset == 0 else [*range(len(self._images[index].people))]
                return self._sample(
                    draw._replace(image=index, people=people[: len(draw.people)]), pixels, problems
                )
        raise InputError(f"no image of the dataset can be read, such as {self._images[draw.image].path}")

    def __getitems__(self, draws: list[Draw]) -> list[Sample] | InputError:
        """Returns the samples of a batch, or an InputError, because torch adds a traceback to raised ones."""
        try:
            return [self[draw] for draw in draws]
        except InputError as error:
            return error

    def _sample(self, draw: Draw, pixels: npt.NDArray[np.uint8], problems: list[str]) -> Sample:
        image, augmentation = self._images[draw.image], self._recipe.augmentation
        rng = self._recipe.random(AUGMENTATION, draw.epoch, draw.image)
        people = [image.people[i] for i in draw.people]
        to_input = augmentation.draw_to_input(rng, image.size, people[0].box, self._recipe.input_size)
        if isinstance(augmentation.input, Crop):
            others = [p for p in people[1:] if is_inside(p.box, to_input, self._recipe.input_size)]
            people = [people[0], *others]
        scene = Scene(
            augmentation.change_colours(rng, pixels),
            decode([person.segmentation for person in people], image.size),
            np.stack([person.keypoints for person in people]),
        )
        for _ in range(rng.integers(augmentation.paste, endpoint=True)):
            scene = self._with_somebody(scene, to_input, rng, problems)
        if augmentation.detected:
            poses = as_detected(scene.keypoints, scene.masks, augmentation.detected, rng)
            scene = scene._replace(keypoints=poses)
        in_crop = np.stack([augmentation.align.draw(rng, ALIGN_SIZE) for _ in scene.keypoints])
        return Sample(
            torch.from_numpy(scene.image),
            torch.from_numpy(to_input).float(),
            torch.from_numpy(scene.masks),
            torch.from_numpy(transform_poses(scene.keypoints, to_input)),
            torch.from_numpy(in_crop).float(),
            problems,
        )

    def _with_somebody(
        self, scene: Scene, to_input: Matrix, rng: np.random.Generator, problems: list[str]
    ) -> Scene:
        """Returns the scene with a random person of the dataset in the foreground."""
        augmentation = self._recipe.augmentation
        image = self._images[int(rng.integers(len(self._images)))]
        person = image.people[rng.integers(len(image.people))]
        others = transform_poses(scene.keypoints, to_input)
        place = draw_place(rng, person.box, others, augmentation.input.angle, self._recipe.input_size)
        try:
            pixels = augmentation.change_colours(rng, image.read())
        except (InputError, OSError) as error:
            problems.append(_problem(image, error))
            return scene
        (mask,) = decode([person.segmentation], image.size)
        return paste(scene, pixels, mask, person.keypoints, compose(inverse(to_input), place), rng)


def _problem(image: PersonImage, error: InputError | OSError) -> str:
    problem = problem_with(image.path, image.version, error)
    return f"{problem}; image {shown(image.image_id)} is left out"


def make_loader(
    images: Sequence[PersonImage],
    recipe: Recipe,
    sampler: BatchSampler,
    *,
    workers: int,
    device: torch.device,
) -> DataLoader[Batch]:
    """Returns a loader of the sampler's batches.

    workers: the number of worker processes; if it is 0, this process makes the batches.

    Iterating raises InputError if no image can be read or a worker has died, and GoneError if an image is
    gone.
    """
    return _Loader(
        TrainingSamples(images, recipe),  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=_collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=_prepare_worker,
        generator=torch.Generator(),  # otherwise every epoch would draw from the global generator
    )


class _Loader(DataLoader[Batch]):
    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches, None)
            except (ConnectionError, EOFError) as error:  # the worker has died
                raise InputError(_WORKER_DIED) from error
            if batch is None:
                return
            if isinstance(batch, InputError):
                raise batch
            yield batch


_WORKER_DIED = (
    "a worker that decodes images was killed, probably because memory, or shared memory, ran out: "
    "use fewer workers, and resume"
)


@contextmanager
def reporting_dead_workers() -> Iterator[None]:
    """Raises InputError if a worker dies during the block; torch may raise its own error anywhere in it."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker "):
            raise
        raise InputError(_WORKER_DIED) from error


def _collate(samples: list[Sample] | InputError) -> Batch | InputError:
    if isinstance(samples, InputError):
        return samples
    counts = torch.tensor([len(sample.keypoints) for sample in samples])
    return Batch(
        [sample.image for sample in samples],
        torch.stack([sample.to_input for sample in samples]),
        [sample.masks for sample in samples],
        torch.cat([sample.keypoints for sample in samples]),
        torch.cat([sample.augmentation for sample in samples]),
        torch.repeat_interleave(counts),
        [problem for sample in samples for problem in sample.problems],
    )


def _prepare_worker(_: int) -> None:
    cv2.setNumThreads(0)  # OpenCV's threads do not survive a fork, and the workers already run in parallel
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # this package reports the problem
    sys.excepthook = _ignore_lost_connections


def _ignore_lost_connections(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Omits the traceback of the thread that sends batches if the training process has already ended."""
    if not issubclass(kind, (OSError, EOFError)):
        sys.__excepthook__(kind, error, trace)
