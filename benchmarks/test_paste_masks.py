import pytest
import torch


@pytest.mark.parametrize("instances", [1, 8, 32])
@pytest.mark.benchmark(group="paste_masks")
def test_paste_masks(compare, instances):
    """Ellipses of 64 x 64 into an image of 480 x 640."""
    axis = torch.linspace(-1, 1, 64, dtype=torch.float64)
    ellipse = (1.2 - axis**2 - axis[:, None] ** 2).clamp(0, 1)
    matrices = torch.tensor([[0.25, 0.02, -20.0], [-0.02, 0.25, -15.0]], dtype=torch.float64)
    batch_index = torch.zeros(instances, dtype=torch.long)
    probabilities, matrices = ellipse.expand(instances, -1, -1), matrices.expand(instances, -1, -1)
    compare("paste_masks", probabilities, matrices, batch_index, [(480, 640)], tolerance=0)
