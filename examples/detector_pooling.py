"""A torchvision detector that pools its boxes by our `roi_align`, with the same detections."""

import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import MultiScaleRoIAlign, poolers

from pose2seg_ops import roi_align


class Pooling(MultiScaleRoIAlign):
    """torchvision's pooling from a feature pyramid, with gradients to the boxes as well."""

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        original, poolers.roi_align = poolers.roi_align, roi_align
        try:
            return super().forward(x, boxes, image_shapes)
        finally:
            poolers.roi_align = original


def replace_pooling(detector: nn.Module) -> None:
    """Makes a detector of torchvision use our pooling; its weights stay as they are."""
    for module in detector.modules():
        if isinstance(module, MultiScaleRoIAlign):
            module.__class__ = Pooling


def main() -> None:
    torch.manual_seed(0)
    # Random weights, since pretrained ones have to be downloaded; they find objects everywhere.
    detector = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=5, box_score_thresh=0.0, min_size=256
    ).eval()
    image = torch.rand(3, 240, 320)
    with torch.inference_mode():
        (expected,) = detector([image])
        replace_pooling(detector)
        (found,) = detector([image])
    for name in ("boxes", "scores"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-3)
    assert torch.equal(found["labels"], expected["labels"])
    print(f"{len(found['boxes'])} detections, the same with both")


if __name__ == "__main__":
    main()
