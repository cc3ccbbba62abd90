"""The overlays of a prediction."""

from pose2seg.common.images import write_png
from pose2seg.data.annotated_masks import DecodedMasks
from pose2seg.data.posed_images import PosedImage
from pose2seg.prediction.drawing import colour_numbers, draw_overlay
from pose2seg.prediction.loop import Masks
from pose2seg.prediction.outputs.image_files import OneFileAnImage


class Overlays(OneFileAnImage):
    """Overlays NAME.png: each image with the masks and skeletons of its people. A track keeps its colour."""

    option = "overlays"
    names = "overlay", "overlays"
    suffix = ".png"

    def write(self, predicted: Masks[PosedImage]) -> None:
        """See `ImageFiles`."""
        image, poses = predicted.content
        masks, numbers = DecodedMasks(predicted.masks), colour_numbers(poses.people)
        overlay = draw_overlay(image, masks, poses.keypoints, numbers)
        write_png(self.path(predicted.item), overlay)
