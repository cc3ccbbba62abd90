import torch
from pose2seg.model import IMAGENET_MEAN, IMAGENET_STD, INPUT_SIZE

import pose2seg_ops
from benchmarks import original
from benchmarks.contest import OURS, REFERENCE, Contest
from benchmarks.inputs import IMAGE
from pose2seg_ops import reference


def _contest(images):
    def inputs(device):
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(images, 3, 15, 20, generator=generator) * 255
        smooth = torch.nn.functional.interpolate(coarse, IMAGE, mode="bilinear").byte()
        photographs = [image.permute(1, 2, 0).contiguous().to(device) for image in smooth]
        return photographs, INPUT_SIZE, IMAGENET_MEAN, IMAGENET_STD

    contenders = {
        OURS: pose2seg_ops.letterbox,
        REFERENCE: reference.letterbox,
        "OpenCV and numpy": original.letterbox,
    }
    # OpenCV rounds to whole grey levels, of which one is 0.0175.
    tolerance = 0.02
    return Contest("letterbox", f"B={images}", inputs, contenders, {"OpenCV and numpy": 2}, tolerance)


CONTESTS = [_contest(images) for images in (1, 2, 4, 8)]


def test_letterbox(race, contest, contender):
    """Photographs of 480 x 640 to 512 x 512."""
    race(contest, contender)
