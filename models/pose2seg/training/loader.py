"""From a dataset to batches: decoding and colours in workers, the rest described for the training process.

Everything random depends on the seed, the epoch and the number of the image alone, so that a training can
stop anywhere and go on, and be shared by processes, without a change to what it sees.
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

from pose2seg.annotated_masks import decode
from pose2seg.dataset import PersonImage
from pose2seg.errors import InputError
from pose2seg.files import shown
from pose2seg.gone import problem_with
from pose2seg.model import ALIGN_SIZE
from pose2seg.training.augmentation import Crop, Matrix, compose, inverse, is_inside, transform_poses
from pose2seg.training.paste import Scene, draw_place, paste
from pose2seg.training.recipe import AUGMENTATION, ORDER, PEOPLE, Recipe


class Draw(NamedTuple):
    """An image of the dataset, and the people in it that take part this time."""

    epoch: int
    image: int
    people: list[int]


class Sample(NamedTuple):
    """An image as a worker leaves it; see `Batch`."""

    photograph: Tensor
    to_input: Tensor
    masks: Tensor
    keypoints: Tensor
    augmentation: Tensor
    problems: list[str]


class Batch(NamedTuple):
    """B images with N people.

    photographs: uint8 (H, W, 3) BGR each.
    to_input: (B, 2, 3) float32, photograph -> network input.
    masks: uint8 (n, H, W) each, of the people in each photograph.
    keypoints: (N, 17, 3) float32, in pixels of the network input.
    augmentation: (N, 2, 3) float32, within the align frame.
    batch_index: (N,) int64, the image that each person is in.
    problems: images that could not be read, and were replaced by others.
    """

    photographs: list[Tensor]
    to_input: Tensor
    masks: list[Tensor]
    keypoints: Tensor
    augmentation: Tensor
    batch_index: Tensor
    problems: list[str]

    def shifted(self, by: tuple[int, int]) -> "Batch":
        """As it is in a larger network input, where the pixels of this one have x and y greater by this."""
        shift = self.to_input.new_tensor([[0, 0, by[0]], [0, 0, by[1]]])
        return self._replace(
            to_input=self.to_input + shift, keypoints=self.keypoints + self.keypoints.new_tensor([*by, 0])
        )

    def to(self, device: torch.device) -> "Batch":
        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(
            [moved(photograph) for photograph in self.photographs],
            moved(self.to_input),
            [moved(masks) for masks in self.masks],
            moved(self.keypoints),
            moved(self.augmentation),
            moved(self.batch_index),
            self.problems,
        )


class BatchSampler(Sampler[list[Draw]]):
    """The images of each step, shuffled anew in every epoch; of them, those that are this process's.

    The last batch of an epoch is filled up with images of its beginning. Set `epoch` and `first_step` before
    iterating, to start anywhere.
    """

    def __init__(
        self, people_counts: Sequence[int], recipe: Recipe, rank: int = 0, processes: int = 1
    ) -> None:
        self.epoch = 0
        self.first_step = 0
        self._counts = people_counts
        self._recipe = recipe
        self._rank, self._processes = rank, processes
        self.steps_per_epoch = -(-len(people_counts) // recipe.batch_size)

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
        """Somebody of each image, and others until the recipe's number of people is reached."""
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
    """The samples of draws. One whose image cannot be read is replaced by that of the next image.

    Raises GoneError for an image that `read_dataset` had found.
    """

    def __init__(self, images: Sequence[PersonImage], recipe: Recipe) -> None:
        self._images = images
        self._recipe = recipe

    def __getitem__(self, draw: Draw) -> Sample:
        problems: list[str] = []
        for offset in range(len(self._images)):
            index = (draw.image + offset) % len(self._images)
            try:
                photograph = self._images[index].read()
            except (InputError, OSError) as error:
                problems.append(_problem(self._images[index], error))
            else:
                people = draw.people if offset == 0 else [*range(len(self._images[index].people))]
                return self._sample(
                    draw._replace(image=index, people=people[: len(draw.people)]), photograph, problems
                )
        raise InputError(f"no image of the dataset can be read, such as {self._images[draw.image].path}")

    def __getitems__(self, draws: list[Draw]) -> list[Sample] | InputError:
        """The samples of a batch. What is wrong is returned: raised, torch would give it as a traceback."""
        try:
            return [self[draw] for draw in draws]
        except InputError as error:
            return error

    def _sample(self, draw: Draw, photograph: npt.NDArray[np.uint8], problems: list[str]) -> Sample:
        image, augmentation = self._images[draw.image], self._recipe.augmentation
        rng = self._recipe.random(AUGMENTATION, draw.epoch, draw.image)
        people = [image.people[i] for i in draw.people]
        to_input = augmentation.draw_to_input(rng, image.size, people[0].box, self._recipe.input_size)
        if isinstance(augmentation.input, Crop):
            others = [p for p in people[1:] if is_inside(p.box, to_input, self._recipe.input_size)]
            people = [people[0], *others]
        scene = Scene(
            augmentation.change_colours(rng, photograph),
            decode([person.segmentation for person in people], image.size),
            np.stack([person.keypoints for person in people]),
        )
        for _ in range(rng.integers(augmentation.paste, endpoint=True)):
            scene = self._with_somebody(scene, to_input, rng, problems)
        in_align_frame = np.stack([augmentation.align.draw(rng, ALIGN_SIZE) for _ in scene.keypoints])
        return Sample(
            torch.from_numpy(scene.photograph),
            torch.from_numpy(to_input).float(),
            torch.from_numpy(scene.masks),
            torch.from_numpy(transform_poses(scene.keypoints, to_input)),
            torch.from_numpy(in_align_frame).float(),
            problems,
        )

    def _with_somebody(
        self, scene: Scene, to_input: Matrix, rng: np.random.Generator, problems: list[str]
    ) -> Scene:
        """The scene with a random person of the dataset in front."""
        augmentation = self._recipe.augmentation
        image = self._images[int(rng.integers(len(self._images)))]
        person = image.people[rng.integers(len(image.people))]
        others = transform_poses(scene.keypoints, to_input)
        place = draw_place(rng, person.box, others, augmentation.input.angle, self._recipe.input_size)
        try:
            photograph = augmentation.change_colours(rng, image.read())
        except (InputError, OSError) as error:
            problems.append(_problem(image, error))
            return scene
        (mask,) = decode([person.segmentation], image.size)
        return paste(scene, photograph, mask, person.keypoints, compose(inverse(to_input), place), rng)


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
    """Batches of the sampler, made by so many worker processes; by this process for 0.

    Iterating raises InputError if no image can be read or a worker has died, and GoneError as
    `TrainingSamples` does.
    """
    return _Loader(
        TrainingSamples(images, recipe),  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=_collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=_prepare_worker,
        generator=torch.Generator(),  # else every epoch would draw from the global one
    )


class _Loader(DataLoader[Batch]):
    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches, None)
            except (ConnectionError, EOFError) as error:  # to a worker that is not there any more
                raise InputError(_WORKER_DIED) from error
            if batch is None:
                return
            if isinstance(batch, InputError):
                raise batch
            yield batch


_WORKER_DIED = (
    "a process that decodes images was killed, as the system does where memory, or shared memory, is short: "
    "use fewer workers, and resume"
)


@contextmanager
def telling_of_dead_workers() -> Iterator[None]:
    """Raise InputError for a worker that has died, of which torch tells wherever the program is."""
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
        [sample.photograph for sample in samples],
        torch.stack([sample.to_input for sample in samples]),
        [sample.masks for sample in samples],
        torch.cat([sample.keypoints for sample in samples]),
        torch.cat([sample.augmentation for sample in samples]),
        torch.repeat_interleave(counts),
        [problem for sample in samples for problem in sample.problems],
    )


def _prepare_worker(_: int) -> None:
    cv2.setNumThreads(0)  # whose threads do not survive a fork, and the workers are parallel already
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the problem is reported by us
    sys.excepthook = _ignore_lost_connections


def _ignore_lost_connections(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Leave out the traceback of the thread that hands batches over, when the training has ended before."""
    if not issubclass(kind, (OSError, EOFError)):
        sys.__excepthook__(kind, error, trace)
