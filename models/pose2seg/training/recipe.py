"""What a training does, as plain settings; and the recipes that come with the package."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pose2seg.errors import InputError
from pose2seg.model import INPUT_SIZE, Architecture, Convention
from pose2seg.training.augmentation import Augmentation, Crop, Similarity

Precision = Literal["float32", "bfloat16", "float16"]
BatchNorm = Literal["batch", "synchronised", "frozen"]


@dataclass(frozen=True)
class Recipe:
    """A training, but for its data and machines.

    Batch norm aside, it gives the same model whatever the number of processes.

    architecture, convention: of the model, see `Pose2Seg`.
    epochs: passes over all images.
    batch_size: images in a step, of all processes together.
    people: at most so many in a step, a random subset with somebody of each image; people who are pasted
        into images come on top.
    optimizer: Adam (Kingma and Ba, 2015) or AdamW (Loshchilov and Hutter, 2019), whose weight decay leaves
        biases and batch norms alone.
    schedule: "steps" divides the learning rate by 10 after each epoch of `milestones`; "cosine" brings it
        to 0 along half a cosine.
    warmup_steps: over how many steps the learning rate rises linearly.
    warmup_factor: the share of the learning rate that it starts from.
    iou_weight: of 1 - IoU, beside the cross-entropy (`person_losses`).
    gradient_clip: the largest norm of all gradients together; None for any.
    average_decay: of the exponential moving average of the weights, which is then what is evaluated and
        kept; it is smaller in the first steps. None for the weights themselves.
    batch_norm: "batch" normalises by the images or people of a process, "synchronised" by those of all
        (on GPUs only), "frozen" by the running statistics of the weights that the training starts from.
    precision: "bfloat16" and "float16" are mixed, by torch's autocast; "float16" scales the loss.
    seed: of the initial weights, the order of images and the augmentation.
    input_size: of the square network input; a prediction's is 512.
    """

    architecture: Architecture = field(default_factory=Architecture)
    convention: Convention = "integer"
    epochs: int = 25
    batch_size: int = 4
    people: int = 8
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 2e-4
    weight_decay: float = 0.0
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[int, ...] = ()
    warmup_steps: int = 0
    warmup_factor: float = 1 / 3
    iou_weight: float = 0.0
    gradient_clip: float | None = None
    average_decay: float | None = None
    batch_norm: BatchNorm = "batch"
    precision: Precision = "float32"
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    input_size: int = INPUT_SIZE

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        if not 32 <= self.input_size <= INPUT_SIZE or self.input_size % 32:
            raise InputError(f"input_size must be a multiple of 32 up to {INPUT_SIZE}, got {self.input_size}")
        if self.people < self.batch_size:
            raise InputError(
                f"people must be at least batch_size, {self.batch_size}: one of each image; got {self.people}"
            )

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """For the step of this number, counted from 0 through all epochs."""
        rate = self.learning_rate
        if step < self.warmup_steps:
            rate *= self.warmup_factor + (1 - self.warmup_factor) * step / self.warmup_steps
        if self.schedule == "steps":
            return rate * 0.1 ** sum(step >= epoch * steps_per_epoch for epoch in self.milestones)
        return rate * (1 + math.cos(math.pi * step / (self.epochs * steps_per_epoch))) / 2

    @property
    def frame_size(self) -> int:
        """The side of the square network input, or of what it is cropped from (a prediction's input size)."""
        return INPUT_SIZE if isinstance(self.augmentation.input, Crop) else self.input_size

    def draw_corner(self, step: int, stride: int) -> tuple[int, int]:
        """x, y of the input's upper left pixel in the frame, in this step: random multiples of `stride`."""
        cells = (self.frame_size - self.input_size) // stride
        x, y = self.random(CORNER, step).integers(cells, size=2, endpoint=True).tolist()
        return x * stride, y * stride

    def random(self, *purpose: int) -> np.random.Generator:
        """Random numbers that depend on the seed and these numbers alone; ORDER, PEOPLE, ... come first."""
        what, *which = purpose
        return np.random.default_rng((what, self.seed, *which))


#: What random numbers are for. Not 0: numpy takes a sequence with zeros at its end for the one without.
ORDER, PEOPLE, AUGMENTATION, CORNER = 1, 2, 3, 4

#: "official" is the recipe of the original Pose2Seg; "modern" is ours for a model of the same size; "small"
#: is that of the model in this package, for a small network and few images.
PRESETS = {
    "official": Recipe(convention="pose2seg", milestones=(15, 20), warmup_steps=1000),
    "modern": Recipe(
        epochs=50,
        batch_size=16,
        people=48,
        optimizer="adamw",
        learning_rate=5e-4,
        weight_decay=0.05,
        schedule="cosine",
        warmup_steps=500,
        gradient_clip=1.0,
        average_decay=0.9995,
        augmentation=Augmentation(
            align=Similarity(angle=30, scale=(0.75, 1.3), shift=0.1),
            input=Similarity(angle=10, scale=(0.7, 1.4), shift=0.1),
            flip=0.5,
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
        ),
    ),
    "small": Recipe(
        architecture=Architecture(
            backbone_blocks=(2, 2, 2, 2), backbone_width=24, channels=64, head_width=64, head_blocks=6
        ),
        epochs=80,
        batch_size=8,
        people=24,
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup_steps=200,
        iou_weight=1.0,
        gradient_clip=5.0,
        average_decay=0.998,
        precision="bfloat16",
        augmentation=Augmentation(
            align=Similarity(angle=30, scale=(0.8, 1.2), shift=0.1),
            input=Crop(angle=20, scale=(0.4, 1.3)),
            flip=0.5,
            brightness=0.35,
            contrast=0.35,
            saturation=0.5,
            paste=3,
        ),
        input_size=320,
    ),
}
