import torch

import pose2seg_ops
from benchmarks.contest import OURS, REFERENCE, Contest
from benchmarks.inputs import IMAGE, ellipses, image_matrices
from benchmarks.rle_encoders import encoders
from pose2seg_ops import paste_masks, reference


def _equal(encoded, expected):
    assert [rle["counts"] for rle in encoded] == [rle["counts"] for rle in expected]


def _contest(instances):
    def inputs(device):
        batch_index = torch.zeros(instances, dtype=torch.long)
        (masks,) = paste_masks(ellipses(instances), image_matrices(instances), batch_index, [IMAGE])
        return (masks.to(device),)

    contenders = {
        OURS: pose2seg_ops.encode_rle,
        REFERENCE: reference.encode_rle,
        **encoders(),
    }
    return Contest("encode_rle", f"N={instances}", inputs, contenders, agree=_equal)


CONTESTS = [_contest(instances) for instances in (1, 8, 32)]


def test_encode_rle(race, contest, contender):
    """Masks of 480 x 640."""
    race(contest, contender)
