import pytest
import torch


@pytest.mark.parametrize("images", [1, 8])
@pytest.mark.benchmark(group="letterbox")
def test_letterbox(compare, images):
    """Photographs of 480 x 640 to 512 x 512."""
    batch = list(torch.randint(0, 256, (images, 480, 640, 3), dtype=torch.uint8))
    compare("letterbox", batch, 512, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), tolerance=1e-3)
