import pytest


@pytest.mark.parametrize("instances", [1, 8, 32])
@pytest.mark.benchmark(group="skeleton_maps")
def test_skeleton_maps(compare, people, instances):
    keypoints = people(instances).double()
    compare("skeleton_maps", keypoints, (64, 64), signed_visibility=True, tolerance=1e-9)
