"""The exponential moving average of a model's weights."""

from collections.abc import Sequence

from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from pose2seg.network.model import Pose2Seg


def average_weights(model: Pose2Seg, decay: float) -> AveragedModel:
    """Returns a copy of a model whose weights and running statistics are averaged by `update_parameters`.

    decay: the weight of the previous average in a step. In the first steps it is smaller, (1 + n) / (10 + n)
        after n steps, so that the initial weights are soon forgotten; the first step copies the model.
    """

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], steps: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, share)
            else:
                average.copy_(value)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    average.module.eval().requires_grad_(False)
    return average
