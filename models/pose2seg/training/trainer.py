"""A training that can take a step, and be put away and taken up again between any two."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from pose2seg import distributed
from pose2seg.errors import InputError
from pose2seg.model import Pose2Seg, Segmentation
from pose2seg.training.average import WeightAverage
from pose2seg.training.loader import Batch
from pose2seg.training.loss import person_losses
from pose2seg.training.recipe import Recipe
from pose2seg.training.targets import mask_targets, network_input


class Trainer:
    """The model, its optimiser and whatever else changes with a step.

    Under torchrun each process has one, takes the same steps with its part of the batches, and all have the
    same weights.

    model: is moved to the device, and trained in place.
    """

    def __init__(self, model: Pose2Seg, recipe: Recipe, steps_per_epoch: int, device: torch.device) -> None:
        if recipe.batch_norm == "synchronised":
            if device.type != "cuda":
                raise InputError(f"synchronised batch norms need GPUs, got {device}")
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WeightAverage(model, recipe.average_decay) if recipe.average_decay else None
        self.steps = 0
        self._recipe = recipe
        self._steps_per_epoch = steps_per_epoch
        self._device = device
        self._network: nn.Module = _InFrame(model, recipe.frame_size)
        if distributed.count() > 1:
            self._network = DistributedDataParallel(self._network)
        self._optimizer = _make_optimizer(model, recipe)
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self.prepare()

    @property
    def trained(self) -> Pose2Seg:
        """The model to evaluate and keep."""
        return self.model if self.average is None else self.average.model

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self._recipe.learning_rate_at(self.steps, self._steps_per_epoch)

    def prepare(self) -> None:
        """Put the model into training mode, as an evaluation between steps may not have left it."""
        self.model.train()
        if self._recipe.batch_norm == "frozen":
            for module in self.model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def step(self, batch: Batch) -> Tensor:
        """Take a step with this process's part of a batch.

        Returns its part of the loss: the sum over its people, divided by the people of all processes.
        """
        batch = batch.to(self._device)
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        people = distributed.total(torch.tensor(float(len(batch.keypoints)), device=self._device))
        loss = self._sum_of_losses(batch) / people
        self._optimizer.zero_grad()
        # DistributedDataParallel averages the gradients of the processes; their sum is what is wanted.
        self._scaler.scale(loss * distributed.count()).backward()
        if self._recipe.gradient_clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.update(self.model, self.steps)
        self.steps += 1
        return loss.detach()

    def _sum_of_losses(self, batch: Batch) -> Tensor:
        images = network_input(batch, self._recipe.input_size)
        corner = self._recipe.draw_corner(self.steps, self.model.backbone.stride)
        batch = batch.shifted(corner)
        dtype = getattr(torch, self._recipe.precision)
        with torch.autocast(self._device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits, matrices = self._network(
                images, corner, batch.keypoints, batch.batch_index, batch.augmentation
            )
        return person_losses(logits, mask_targets(batch, matrices), self._recipe.iou_weight).sum()

    def state_dict(self) -> dict[str, Any]:
        """All that a step changes, for `load_state_dict` of a trainer with the same recipe."""
        return {
            "steps": self.steps,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict() if self.average is not None else {},
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])


class _InFrame(nn.Module):
    """The model on images that are parts of a larger frame, which is empty elsewhere.

    Whether a person's template fits, and what the person is shown in otherwise, depend on the frame.
    """

    def __init__(self, model: Pose2Seg, frame_size: int) -> None:
        super().__init__()
        self.model = model
        self._cells = frame_size // model.backbone.stride

    def forward(self, images: Tensor, corner: tuple[int, int], *people: Tensor) -> Segmentation:
        """As `Pose2Seg.forward`, in the frame; corner: x, y of the images' upper left pixel there."""
        features = self.model.backbone(images)
        left, top = (side // self.model.backbone.stride for side in corner)
        right, bottom = self._cells - features.shape[3] - left, self._cells - features.shape[2] - top
        features = nn.functional.pad(features, (left, right, top, bottom))
        return self.model.segment(features, *people)


def _make_optimizer(model: Pose2Seg, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, recipe.learning_rate)
