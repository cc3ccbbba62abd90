"""The other outputs of a prediction: files of each image, and files about all images."""

from pose2seg.prediction.outputs.collected import CollectedFile
from pose2seg.prediction.outputs.cutouts import Cutouts
from pose2seg.prediction.outputs.image_files import ImageFiles
from pose2seg.prediction.outputs.masks import IndexedMasks, PersonMasks
from pose2seg.prediction.outputs.overlays import Overlays
from pose2seg.prediction.outputs.polygons import Polygons
from pose2seg.prediction.outputs.report import Report
from pose2seg.prediction.outputs.video import Video
from pose2seg.prediction.outputs.yolo import YoloLabels

__all__ = [
    "CollectedFile",
    "Cutouts",
    "ImageFiles",
    "IndexedMasks",
    "Overlays",
    "PersonMasks",
    "Polygons",
    "Report",
    "Video",
    "YoloLabels",
]
