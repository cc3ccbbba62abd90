"""The settings of a training run, and the presets of this package."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np
import torch

from pose2seg.common.choices import BatchNorm, Precision
from pose2seg.common.errors import InputError
from pose2seg.network.inference import fastest_precision
from pose2seg.network.model import INPUT_SIZE, Architecture, Convention
from pose2seg.training.augmentation import Augmentation, Crop, Similarity


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run, apart from its data and machines.

    Except for batch norms, the trained model does not depend on the number of processes.

    architecture, convention: see `Pose2Seg`.
    epochs: the number of passes over all images.
    batch_size: the number of images in a step, over all processes.
    people: the most people in a step, a random subset with at least one person of each image. People who are
        pasted into images are not counted.
    optimizer: Adam (Kingma and Ba, 2015) or AdamW (Loshchilov and Hutter, 2019), whose weight decay excludes
        biases and batch norms.
    encoder_rate: the factor of the learning rate for the encoder; 0 freezes it, including its batch norms.
    frozen_stages: the number of stages at the beginning of the encoder that are frozen, including their batch
        norms, from 0 to 4.
    schedule: "steps" divides the learning rate by 10 after each epoch in `milestones`; "cosine" reduces it to
        0 along half a cosine.
    warmup_steps: the number of steps in which the learning rate rises linearly.
    warmup_factor: the factor of the learning rate in the first step of the warmup.
    iou_weight: the weight of 1 - IoU, which is added to the cross-entropy (`person_losses`).
    gradient_clip: the largest norm of all gradients together; None for no limit.
    average_decay: the decay of the exponential moving average of the weights, which is then evaluated and
        saved instead of the weights; it is smaller in the first steps. None for no average.
    batch_norm: "batch" normalises by the images or people of one process, "synchronised" by those of all
        processes (only on GPUs), "frozen" by the running statistics of the initial weights.
    precision: "bfloat16" and "float16" are mixed precision, by torch's autocast; "float16" scales the loss.
        "auto" stands for the fastest one of the device (`on`).
    seed: the seed of the initial weights, the order of images and the augmentation.
    input_size: the side of the square network input; that of a prediction is 512.
    """

    architecture: Architecture = field(default_factory=Architecture)
    convention: Convention = "integer"
    epochs: int = 25
    batch_size: int = 4
    people: int = 8
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 2e-4
    encoder_rate: float = 1.0
    frozen_stages: int = 0
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
        if not self.encoder_rate >= 0:
            raise InputError(f"encoder_rate must be at least 0, got {self.encoder_rate}")
        if not 0 <= self.frozen_stages <= 4:
            raise InputError(f"frozen_stages must be from 0 to 4, got {self.frozen_stages}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        if not 32 <= self.input_size <= INPUT_SIZE or self.input_size % 32:
            raise InputError(f"input_size must be a multiple of 32 up to {INPUT_SIZE}, got {self.input_size}")
        if self.people < self.batch_size:
            raise InputError(
                f"people must be at least batch_size, {self.batch_size}, for one of each image, "
                f"got {self.people}"
            )

    def on(self, device: torch.device) -> "Recipe":
        """Returns the recipe for a device, on which "auto" stands for one precision."""
        if self.precision != "auto":
            return self
        name = str(fastest_precision(device)).removeprefix("torch.")
        return replace(self, precision=cast(Precision, name))

    def steps_per_epoch(self, images: int) -> int:
        """Returns the steps per epoch for a number of images; the last step is filled up with others."""
        return -(-images // self.batch_size)

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Returns the learning rate of a step, counted from 0 over all epochs."""
        rate = self.learning_rate
        if step < self.warmup_steps:
            rate *= self.warmup_factor + (1 - self.warmup_factor) * step / self.warmup_steps
        if self.schedule == "steps":
            return rate * 0.1 ** sum(step >= epoch * steps_per_epoch for epoch in self.milestones)
        return rate * (1 + math.cos(math.pi * step / (self.epochs * steps_per_epoch))) / 2

    @property
    def frame_size(self) -> int:
        """The side of the square network input or, for image crops, of the frame from which they are cut."""
        return INPUT_SIZE if isinstance(self.augmentation.input, Crop) else self.input_size

    def draw_corner(self, step: int, stride: int) -> tuple[int, int]:
        """Returns x, y of the input's upper left pixel in the frame: random multiples of `stride`."""
        cells = (self.frame_size - self.input_size) // stride
        x, y = self.random(CORNER, step).integers(cells, size=2, endpoint=True).tolist()
        return x * stride, y * stride

    def random(self, *purpose: int) -> np.random.Generator:
        """Returns a generator that depends only on the seed and `purpose`: ORDER, PEOPLE, ... and numbers."""
        what, *which = purpose
        return np.random.default_rng((what, self.seed, *which))


#: The purposes of random numbers. They are not 0, because NumPy ignores zeros at the end of a seed sequence.
ORDER, PEOPLE, AUGMENTATION, CORNER = 1, 2, 3, 4

#: "official" is the recipe of the original Pose2Seg, and "modern" is our recipe for a model of the same size.
#: "small" trained the model in this package: it is for a small network and few images. "lite" is "small" with
#: a pretrained encoder, and with poses that resemble those of detectors. "fine-tune" is a short "small" at a
#: lower learning rate, to start from a trained model.
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
        precision="auto",
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
PRESETS["lite"] = replace(
    PRESETS["small"],
    architecture=replace(PRESETS["small"].architecture, encoder="efficientnet-lite0"),
    epochs=60,
    learning_rate=1e-3,
    encoder_rate=0.5,
    frozen_stages=1,
    warmup_steps=100,
    augmentation=replace(PRESETS["small"].augmentation, detected=0.4),
)
PRESETS["fine-tune"] = replace(PRESETS["small"], epochs=10, learning_rate=2e-4, warmup_steps=0)
