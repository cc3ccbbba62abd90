"""People with poses, and the interface of their sources."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pose2seg.common.text import shown
from pose2seg_ops import COCO_KEYPOINTS


@dataclass(frozen=True)
class Person:
    """A person with a pose.

    keypoints: (17, 3) float32 x, y in pixels, and COCO visibility: 0 missing, 1 occluded, 2 visible.
    score: the confidence of the pose; 1 for an annotation.
    annotation_id: the "id" of the annotation, or None.
    track_id: the number of the person throughout a video, or None.
    """

    keypoints: npt.NDArray[np.float32]
    score: float = 1.0
    annotation_id: int | str | None = None
    track_id: int | None = None


@dataclass(frozen=True)
class ImagePoses:
    """The people of one image.

    size: (height, width), or None if it is unknown.
    """

    image_id: int | str
    size: tuple[int, int] | None = None
    people: list[Person] = field(default_factory=list)

    @property
    def keypoints(self) -> npt.NDArray[np.float32]:
        """The poses of all people, (n, 17, 3); n may be 0."""
        return stack_poses([person.keypoints for person in self.people])


def stack_poses(poses: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Stacks poses (17, 3) into one array (n, 17, 3); n may be 0."""
    return np.array(poses, np.float32).reshape(-1, len(COCO_KEYPOINTS), 3)


def unit_problem(poses: npt.NDArray[np.float32], size: tuple[int, int]) -> str | None:
    """Returns why poses (n, 17, 3) are probably not in pixels of their image of (height, width), or None.

    All poses are considered together, because a single person may be outside of an image.
    """
    positions = poses[poses[:, :, 2] > 0][:, :2]
    if not len(positions):
        return None
    if np.abs(positions).max() <= _CORNER < min(size):
        return (
            "positions must be in pixels (in OpenPose, with --keypoint_scale 0), but all joints are within "
            f"{_CORNER} pixels of the upper left corner"
        )
    if not ((positions >= -0.5) & (positions < np.add(size[::-1], 0.5))).all(axis=1).any():
        x, y = positions[0]
        return (
            f"positions must be in pixels of the image, {size[1]} x {size[0]}, but all joints are outside of "
            f"it, such as ({x:g}, {y:g})"
        )
    return None


_CORNER = 2  # pixels; positions in 0..1 or -1..1 may be slightly outside of that range


class PoseSource(Protocol):
    """A source of poses, such as a file or a pose estimator."""

    @property
    def joint_threshold(self) -> float | None:
        """The lowest confidence of a joint that is used; None if joints have flags, as in annotations."""

    @property
    def pose_estimator(self) -> str | None:
        """The name or the file of the pose estimator; None for poses from files."""

    def image_id(self, image: Path) -> int | str | None:
        """Returns the id of the image at a path, or None if it has no poses.

        Reads neither the image nor the poses.
        """

    def find(self, image: Path, size: tuple[int, int], pixels: npt.NDArray[np.uint8], /) -> ImagePoses | None:
        """Returns the poses of the image at a path, or None if it has none.

        size: the (height, width) of the image.
        pixels: the decoded image, (height, width, 3) BGR, for pose estimators.
        """


@dataclass(frozen=True)
class PoseFile:
    """The poses in a file.

    images: the poses of each image.
    names: yields the keys that the image at a path may have in `images`, the best first.
    """

    images: dict[str, ImagePoses]
    names: Callable[[Path], Iterator[str]]
    joint_threshold: float | None = None
    pose_estimator: None = None

    def image_id(self, image: Path) -> int | str | None:
        """Returns the id of the image at a path, or None if the file does not list it."""
        poses = self.find(image)
        return None if poses is None else poses.image_id

    def find(self, image: Path, *_: object) -> ImagePoses | None:
        """Returns the poses of the image at a path, or None if the file does not list it."""
        return next((self.images[name] for name in self.names(image) if name in self.images), None)

    def without_folders(self) -> "PoseFile":
        """Returns the poses by bare file names, without folders, of the images whose file name is unique."""
        names = [PureWindowsPath(key).name for key in self.images]
        once = {name for name, count in Counter(names).items() if count == 1}
        images = zip(names, self.images.values(), strict=True)
        return replace(self, images={name: poses for name, poses in images if name in once})

    def example(self) -> str:
        """Returns one of the images that the file lists, for messages."""
        return shown(next(iter(self.images), None))

    def names_file(self, image: Path) -> bool:
        """Returns whether the file lists the image at a path with its extension, rather than only without."""
        return any(name.endswith(image.name) and name in self.images for name in self.names(image))


@dataclass(frozen=True)
class PoseFolder:
    """The poses in a folder with a file for each image.

    patterns: the names that a file may have, in which {} stands for the image's name without extension.
    read: returns the people in a file, (file, (height, width) of its image) -> people.
    """

    folder: Path
    patterns: tuple[str, ...]
    read: Callable[[Path, tuple[int, int]], list[Person]]
    joint_threshold: float | None = None
    pose_estimator: None = None

    def image_id(self, image: Path) -> int | str | None:
        """Returns the id of the image at a path, or None if there is no file for it."""
        return None if self._file(image) is None else image_id_of(image)

    def find(self, image: Path, size: tuple[int, int], *_: object) -> ImagePoses | None:
        """Returns the poses of the image at a path, of size (height, width), or None if it has no file."""
        file = self._file(image)
        return None if file is None else ImagePoses(image_id_of(image), None, self.read(file, size))

    def example(self) -> str:
        """Returns the name of a file in the folder, for messages."""
        return shown(min((file.name for file in self.folder.iterdir()), default=None))

    def _file(self, image: Path) -> Path | None:
        files = (self.folder / pattern.format(image.stem) for pattern in self.patterns)
        return next((file for file in files if file.is_file()), None)


def image_id_of(image: Path) -> int | str:
    """Returns the default id of an image: its name without extension, as a number if it is one."""
    return int(image.stem) if image.stem.isdecimal() else image.stem


def trailing_paths(image: Path) -> Iterator[str]:
    """Yields the names that a file may have for an image: its path, and the part after each folder."""
    path = image.absolute().as_posix()
    yield path
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def identifiers(image: Path) -> Iterator[str]:
    """Yields the ids that a file may have for an image: its name, without extension, and as a number."""
    yield image.name
    yield image.stem
    if image.stem.isdecimal():
        yield str(int(image.stem))
