import torch

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case
from benchmarks.inputs import IMAGE, ellipses, image_matrices
from benchmarks.rle_encoders import encoders
from pose2seg_ops import paste_masks, reference


def _equal(encoded, expected):
    assert [rle["counts"] for rle in encoded] == [rle["counts"] for rle in expected]


def _case(instances):
    def inputs(device):
        batch_index = torch.zeros(instances, dtype=torch.long)
        (masks,) = paste_masks(ellipses(instances), image_matrices(instances), batch_index, [IMAGE])
        return (masks.to(device),)

    implementations = {
        OURS: pose2seg_ops.encode_rle,
        REFERENCE: reference.encode_rle,
        **encoders(),
    }
    return Case("encode_rle", f"N={instances}", inputs, implementations, agree=_equal)


CASES = [_case(instances) for instances in (1, 8, 32)]


def test_encode_rle(check_and_time, case, implementation):
    """Encodes masks of 480 x 640."""
    check_and_time(case, implementation)
