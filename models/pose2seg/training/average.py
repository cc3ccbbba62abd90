"""The exponential moving average of a model's weights."""

import copy

import torch

from pose2seg.model import Pose2Seg


class WeightAverage:
    """A model whose weights and running statistics follow those of another.

    decay: the share that a step leaves of the average. In the first steps it is smaller, (1 + n) / (10 + n)
        in the n-th, so that the initial weights are soon forgotten.
    """

    def __init__(self, model: Pose2Seg, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: Pose2Seg, step: int) -> None:
        """Follow `model` after its step of this number, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averages, values = self.model.state_dict(), model.state_dict()
        numbers = [key for key, value in values.items() if value.is_floating_point()]
        torch._foreach_lerp_([averages[key] for key in numbers], [values[key] for key in numbers], 1 - decay)
        for key in values.keys() - numbers:
            averages[key].copy_(values[key])
