import pytest
import torch


@pytest.mark.parametrize("instances", [1, 8, 32])
@pytest.mark.benchmark(group="fit_pose_templates")
def test_fit_pose_templates(compare, people, instances):
    templates = people(6) / torch.tensor([128.0, 128.0, 1.0])
    compare("fit_pose_templates", people(instances), templates, (128, 128), (64, 64), tolerance=1e-5)
