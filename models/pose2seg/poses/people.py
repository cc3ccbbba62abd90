"""People's poses, and where they come from."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pose2seg.files import shown
from pose2seg_ops import COCO_KEYPOINTS


@dataclass(frozen=True)
class Person:
    """A pose.

    keypoints: (17, 3) float32 x, y in pixels, and COCO visibility: 0 missing, 1 occluded, 2 visible.
    score: how sure the pose is; 1 for an annotation.
    annotation_id: the "id" of the annotation; None where it has none.
    track_id: the number of the person throughout a video; None where it has none.
    """

    keypoints: npt.NDArray[np.float32]
    score: float = 1.0
    annotation_id: int | str | None = None
    track_id: int | None = None


@dataclass(frozen=True)
class ImagePoses:
    """The people of one image; `size` is (height, width) where it is known."""

    image_id: int | str
    size: tuple[int, int] | None = None
    people: list[Person] = field(default_factory=list)

    @property
    def keypoints(self) -> npt.NDArray[np.float32]:
        """(n, 17, 3), n may be 0."""
        return stack_poses([person.keypoints for person in self.people])


def stack_poses(poses: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Poses (17, 3) as one array, (n, 17, 3); n may be 0."""
    return np.array(poses, np.float32).reshape(-1, len(COCO_KEYPOINTS), 3)


def unit_problem(poses: npt.NDArray[np.float32], size: tuple[int, int]) -> str | None:
    """What tells that poses (n, 17, 3) are not in pixels of their image of (height, width), if anything does.

    It has to hold for all of them: a single person may be outside of an image.
    """
    positions = poses[poses[:, :, 2] > 0][:, :2]
    if not len(positions):
        return None
    if np.abs(positions).max() <= _CORNER < min(size):
        return (
            f"all joints are within {_CORNER} pixels of the upper left corner, expected positions in pixels "
            "(as OpenPose writes them with --keypoint_scale 0)"
        )
    if not ((positions >= -0.5) & (positions < np.add(size[::-1], 0.5))).all(axis=1).any():
        x, y = positions[0]
        return (
            f"all joints are outside of the image of {size[1]} x {size[0]}, such as ({x:g}, {y:g}), expected "
            "positions in its pixels"
        )
    return None


_CORNER = 2  # pixels; positions in 0..1 or -1..1 may be a little beyond


class PoseSource(Protocol):
    """Poses by image, wherever they come from."""

    @property
    def joint_threshold(self) -> float | None:
        """The confidence from which a joint is used; None where joints have flags, as in annotations."""

    def image_id(self, image: Path) -> int | str | None:
        """The id of the image at a path, None if its poses are not known. Reads neither it nor its poses."""

    def find(self, image: Path) -> ImagePoses | None:
        """The poses of the image at a path, None if they are not known."""


@dataclass(frozen=True)
class PoseFile:
    """Poses by image: `names` are the keys, best first, that the image at a path may have in `images`."""

    images: dict[str, ImagePoses]
    names: Callable[[Path], Iterator[str]]
    joint_threshold: float | None = None

    def image_id(self, image: Path) -> int | str | None:
        """The id of the image at a path, None if the file does not list it."""
        poses = self.find(image)
        return None if poses is None else poses.image_id

    def find(self, image: Path) -> ImagePoses | None:
        """The poses of the image at a path, None if the file does not list it."""
        return next((self.images[name] for name in self.names(image) if name in self.images), None)

    def without_folders(self) -> "PoseFile":
        """The images whose name no other one has, found by it alone, whatever folder the file says."""
        names = [PureWindowsPath(key).name for key in self.images]
        once = {name for name, count in Counter(names).items() if count == 1}
        images = zip(names, self.images.values(), strict=True)
        return replace(self, images={name: poses for name, poses in images if name in once})

    def example(self) -> str:
        """One of the images that the file lists, for messages."""
        return shown(next(iter(self.images), None))

    def names_file(self, image: Path) -> bool:
        """Whether the file names the image at a path with its extension, not only without."""
        return any(name.endswith(image.name) and name in self.images for name in self.names(image))


@dataclass(frozen=True)
class PoseFolder:
    """A folder with a file for each image: the image's name without extension, and one of `endings`.

    read: the people in a file, (file, image) -> people.
    """

    folder: Path
    endings: tuple[str, ...]
    read: Callable[[Path, Path], list[Person]]
    joint_threshold: float | None = None

    def image_id(self, image: Path) -> int | str | None:
        """The id of the image at a path, None if there is no file for it."""
        return None if self._file(image) is None else image_id_of(image)

    def find(self, image: Path) -> ImagePoses | None:
        """The poses of the image at a path, None if there is no file for it."""
        file = self._file(image)
        return None if file is None else ImagePoses(image_id_of(image), None, self.read(file, image))

    def example(self) -> str:
        """One of the files in the folder, for messages."""
        return shown(min((file.name for file in self.folder.iterdir()), default=None))

    def _file(self, image: Path) -> Path | None:
        files = (self.folder / f"{image.stem}{ending}" for ending in self.endings)
        return next((file for file in files if file.is_file()), None)


def image_id_of(image: Path) -> int | str:
    """The id of an image that no file gives one: its name without extension, as a number if it is one."""
    return int(image.stem) if image.stem.isdecimal() else image.stem
