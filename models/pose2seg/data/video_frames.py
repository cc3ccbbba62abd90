"""The frames of a video as images with poses."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose2seg.common.errors import InputError
from pose2seg.common.gone import version_of
from pose2seg.data.posed_images import PosedImage, names_instead
from pose2seg.data.poses import ImagePoses, PoseSource
from pose2seg.data.video import VideoFile


@dataclass(frozen=True)
class FramePoses:
    """The poses in the frames of a video, which are looked up by the names that tools give to frames.

    A frame without poses has no people.
    """

    source: PoseSource
    video: Path

    @property
    def joint_threshold(self) -> float | None:
        """See `PoseSource`."""
        return self.source.joint_threshold

    @property
    def pose_estimator(self) -> str | None:
        """See `PoseSource`."""
        return self.source.pose_estimator

    def image_id(self, image: Path) -> int | str | None:
        """Returns the number of a frame, or None if the source has no poses for it."""
        number = frame_number(image)
        names = self._names(number)
        return number if any(self.source.image_id(name) is not None for name in names) else None

    def find(self, image: Path, size: tuple[int, int], pixels: npt.NDArray[np.uint8], /) -> ImagePoses:
        """See `PoseSource`."""
        number = frame_number(image)
        for name in self._names(number):
            if self.source.image_id(name) is not None:
                poses = self.source.find(name, size, pixels)
                if poses is not None:
                    return replace(poses, image_id=number)
        return ImagePoses(number)

    def _names(self, number: int) -> Iterator[Path]:
        """Yields a frame's names: those of AlphaPose, of image files, of CVAT, OpenPose and Ultralytics."""
        stem = self.video.stem
        for name in (
            f"{number}.jpg",
            f"{number:06}.jpg",
            f"{number:06}.png",
            f"frame_{number:06}.PNG",
            f"{stem}_{number:012}",
            f"{stem}_{number:06}",
            f"{stem}_{number + 1}",  # Ultralytics counts from 1
        ):
            yield self.video.with_name(name)


def frame_number(frame: Path) -> int:
    """Returns the number of a frame from the path that `find_frames` gives it."""
    return int(frame.stem.rpartition("_")[2])


def find_frames(video: VideoFile, poses: PoseSource, chosen: range | None = None) -> list[PosedImage]:
    """Returns the frames of a video as images, whose ids are their numbers, counted from 0.

    Frame 12 of clip.mp4 is called clip_000012, and so are the files that are written for it.

    chosen: the numbers of the frames; None for all.

    Raises InputError if the video has none of these frames, or if there are no poses for any of them.
    """
    of_frames = FramePoses(poses, video.path)
    version = version_of(video.path)
    numbers = [number for number in chosen or range(len(video)) if number < len(video)]
    if not numbers:
        raise InputError(f"{video.path}: has {len(video):,} frames, none of which was chosen")
    paths = [video.path / f"{video.path.stem}_{number:06}" for number in numbers]
    if all(of_frames.image_id(path) is None for path in paths):
        raise InputError(f"{video.path}: the poses list none of the frames{names_instead(poses)}")
    return [
        PosedImage(path, number, of_frames, version, video)
        for path, number in zip(paths, numbers, strict=True)
    ]
