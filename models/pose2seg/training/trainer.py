"""The steps of a training run, which can be saved and resumed between them."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from pose2seg.common import distributed
from pose2seg.common.errors import InputError
from pose2seg.network.model import Pose2Seg, Segmentation
from pose2seg.training.average import average_weights
from pose2seg.training.loader import Batch
from pose2seg.training.loss import person_losses
from pose2seg.training.recipe import Recipe
from pose2seg.training.targets import mask_targets, network_input


class Trainer:
    """A model, its optimizer and everything else that a step changes.

    Under torchrun, each process has a trainer, which takes the same steps with its part of the batches, and
    all have the same weights.

    model: the model, which is moved to the device and trained in place.
    """

    def __init__(self, model: Pose2Seg, recipe: Recipe, steps_per_epoch: int, device: torch.device) -> None:
        if recipe.batch_norm == "synchronised":
            if device.type != "cuda":
                raise InputError(f"synchronised batch norms need GPUs, got {device}")
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = average_weights(model, recipe.average_decay) if recipe.average_decay else None
        self.steps = 0
        self._recipe = recipe
        self._steps_per_epoch = steps_per_epoch
        self._device = device
        self.prepare()
        self._network: nn.Module = _InFrame(model, recipe.frame_size)
        if distributed.count() > 1:
            self._network = DistributedDataParallel(self._network)
        self._optimizer = _make_optimizer(model, recipe)
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")

    @property
    def trained(self) -> Pose2Seg:
        """The model to evaluate and save."""
        return self.model if self.average is None else cast(Pose2Seg, self.average.module)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self._recipe.learning_rate_at(self.steps, self._steps_per_epoch)

    def prepare(self) -> None:
        """Puts the model into training mode, which an evaluation between steps may have ended."""
        self.model.train()
        if self._recipe.batch_norm == "frozen":
            for module in self.model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        for module in self._frozen():
            module.eval().requires_grad_(False)

    def _frozen(self) -> Iterable[nn.Module]:
        """Returns the modules of the encoder that are not trained."""
        if self._recipe.encoder_rate == 0:
            return self.model.backbone.encoder()
        stages = self._recipe.frozen_stages
        return self.model.backbone.first_stages(stages) if stages else ()

    def step(self, batch: Batch) -> Tensor:
        """Takes a step with this process's part of a batch.

        Returns this process's part of the loss: the sum over its people, divided by the number of people of
        all processes.
        """
        batch = batch.to(self._device)
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate * group["share"]
        people = distributed.total(torch.tensor(float(len(batch.keypoints)), device=self._device))
        loss = self._sum_of_losses(batch) / people
        self._optimizer.zero_grad()
        # DistributedDataParallel averages the gradients of the processes, but their sum is needed.
        self._scaler.scale(loss * distributed.count()).backward()
        if self._recipe.gradient_clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
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
        """Returns everything that a step changes, for `load_state_dict` of a trainer with the same recipe."""
        return {
            "steps": self.steps,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the result of `state_dict`."""
        self.steps = state["steps"]
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])


class _InFrame(nn.Module):
    """Applies the model to images that are parts of a larger frame, which is empty elsewhere.

    The frame is needed because the fit of the templates depends on its size.
    """

    def __init__(self, model: Pose2Seg, frame_size: int) -> None:
        super().__init__()
        self.model = model
        self._cells = frame_size // model.backbone.stride

    def forward(self, images: Tensor, corner: tuple[int, int], *people: Tensor) -> Segmentation:
        """Computes `Pose2Seg.forward` in the frame, with the images' upper left pixel at x, y = `corner`."""
        features = self.model.backbone(images)
        left, top = (side // self.model.backbone.stride for side in corner)
        right, bottom = self._cells - features.shape[3] - left, self._cells - features.shape[2] - top
        features = nn.functional.pad(features, (left, right, top, bottom))
        return self.model.segment(features, *people)


def _make_optimizer(model: Pose2Seg, recipe: Recipe) -> torch.optim.Optimizer:
    """Returns the optimizer. In each parameter group, "share" is the factor of the learning rate."""
    of_encoder = {id(p) for module in model.backbone.encoder() for p in module.parameters()}
    decays_all = recipe.optimizer == "adam"  # AdamW here decays only kernels
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for parameter in (p for p in model.parameters() if p.requires_grad):
        share = recipe.encoder_rate if id(parameter) in of_encoder else 1.0
        decay = recipe.weight_decay if decays_all or parameter.ndim > 1 else 0.0
        group = {"params": [], "share": share, "weight_decay": decay}
        groups.setdefault((share, decay), group)["params"].append(parameter)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups.values(), recipe.learning_rate, fused=True)  # one pass over the weights, not twelve
