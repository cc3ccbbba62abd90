"""A video with overlaid masks and poses."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose2seg.common.files import atomic_writer
from pose2seg.data.annotated_masks import DecodedMasks
from pose2seg.data.posed_images import PosedImage
from pose2seg.data.poses import stack_poses
from pose2seg.data.video import VideoFile, VideoWriter
from pose2seg.prediction.drawing import colour_numbers, draw_overlay
from pose2seg.prediction.loop import Masks
from pose2seg.prediction.outputs.collected import CollectedFile


class Video(CollectedFile):
    """The overlays of the frames, as a video with the frame times of the original.

    It is written when all masks are finished. A track keeps its colour. There is no sound.
    """

    option = "video"
    content = "the video"

    def __init__(self, path: Path, video: VideoFile) -> None:
        super().__init__(path)
        self._video = video

    def part(self, predicted: Masks[PosedImage]) -> Any:
        """See `CollectedFile`."""
        poses = predicted.content.poses
        masks = [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in predicted.masks]
        keypoints = np.round(poses.keypoints.astype(float), 2).tolist()
        return [predicted.item.image_id, masks, keypoints, colour_numbers(poses.people)]

    def is_part(self, value: Any) -> bool:
        """See `CollectedFile`."""
        return isinstance(value, list) and [type(part) for part in value] == [int, list, list, list]

    def write(self, parts: Iterable[Any], facts: Sequence[str], unfinished_in: Path | None) -> None:
        """See `CollectedFile`."""
        with atomic_writer(self.path, unfinished_in) as file:
            writer = VideoWriter(file, self._video.time_base)
            for number, masks, keypoints, numbers in parts:
                decoded = DecodedMasks(
                    [{"size": rle["size"], "counts": rle["counts"].encode()} for rle in masks]
                )
                overlay = draw_overlay(self._video.read(number), decoded, stack_poses(keypoints), numbers)
                writer.add(overlay, self._video.times[number])
            writer.finish()
