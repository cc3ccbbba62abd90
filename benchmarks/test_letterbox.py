import torch
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.model import INPUT_SIZE

import pose2seg_ops
from benchmarks import original
from benchmarks.case import OURS, REFERENCE, Case
from benchmarks.inputs import IMAGE
from pose2seg_ops import reference


def _case(images):
    def inputs(device):
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(images, 3, 15, 20, generator=generator) * 255
        smooth = torch.nn.functional.interpolate(coarse, IMAGE, mode="bilinear").byte()
        bgr_images = [image.permute(1, 2, 0).contiguous().to(device) for image in smooth]
        return bgr_images, INPUT_SIZE, IMAGENET_MEAN, IMAGENET_STD

    implementations = {
        OURS: pose2seg_ops.letterbox,
        REFERENCE: reference.letterbox,
        "OpenCV and numpy": original.letterbox,
    }
    # OpenCV rounds to whole grey levels; one level is 0.0175.
    tolerance = 0.02
    return Case("letterbox", f"B={images}", inputs, implementations, {"OpenCV and numpy": 2}, tolerance)


CASES = [_case(images) for images in (1, 2, 4, 8)]


def test_letterbox(check_and_time, case, implementation):
    """Letterboxes images of 480 x 640 to 512 x 512."""
    check_and_time(case, implementation)
