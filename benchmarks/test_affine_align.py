import math

import pytest
import torch


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize("instances", [1, 8, 32])
@pytest.mark.benchmark(group="affine_align")
def test_affine_align(compare, instances, memory_format):
    """C = 256, 128 x 128 -> 64 x 64: the RoIs of Pose2Seg."""
    features = torch.randn(1, 256, 128, 128).contiguous(memory_format=memory_format)
    angle = torch.linspace(-0.5, 0.5, instances)
    a, b = 0.7 * angle.cos(), 0.7 * angle.sin()
    shift = torch.full_like(a, math.pi)
    matrices = torch.stack((a, b, -shift, -b, a, shift), -1).reshape(-1, 2, 3)
    batch_index = torch.zeros(instances, dtype=torch.long)
    compare("affine_align", features, matrices, batch_index, (64, 64), tolerance=1e-3)
