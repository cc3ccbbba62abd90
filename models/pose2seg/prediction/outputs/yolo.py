"""Masks as labels for training YOLO segmentation."""

from pose2seg.common.files import atomic_writer
from pose2seg.data.annotated_masks import DecodedMasks
from pose2seg.data.posed_images import PosedImage
from pose2seg.prediction.loop import Masks
from pose2seg.prediction.outputs.image_files import OneFileAnImage
from pose2seg.prediction.outputs.outline import join_rings, outline_polygons


class YoloLabels(OneFileAnImage):
    """Labels NAME.txt of each image, with a line "0 x y x y ..." for each person with a pixel.

    0 is the class; x and y are relative to the width and the height of the image. YOLO has one polygon per
    person, so the parts and holes of a mask are joined by cuts of zero width.
    """

    option = "yolo"
    names = "YOLO label", "YOLO labels"
    suffix = ".txt"

    def write(self, predicted: Masks[PosedImage]) -> None:
        """See `ImageFiles`."""
        height, width = predicted.content.image.shape[:2]
        lines = []
        for mask in DecodedMasks(predicted.masks):
            parts = outline_polygons(mask)
            if parts:
                points = join_rings(parts) / (width, height)
                lines.append(" ".join(["0", *(f"{number:.6f}" for number in points.flat)]))
        with atomic_writer(self.path(predicted.item)) as file:
            file.writelines(f"{line}\n".encode() for line in lines)
