"""Finding and reading images with poses."""

import glob
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pose2seg.common.errors import InputError
from pose2seg.common.files import real_path
from pose2seg.common.gone import AGAIN, GoneError, Version, problem_with, version_of
from pose2seg.common.images import read_image, require_size
from pose2seg.common.remarks import DatasetWarning
from pose2seg.common.text import shown
from pose2seg.data.poses import ImagePoses, PoseFile, PoseFolder, PoseSource, unit_problem
from pose2seg.data.video import VideoFile

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


class PosedImage(NamedTuple):
    """An image file or a frame of a video, and the source of its poses; neither has been read.

    version: the version of the file when it was found; None if it was not readable.
    video: the video that the image is a frame of, or None. The id is the frame's number, and the path only
        a name.
    """

    path: Path
    image_id: int | str
    source: PoseSource
    version: Version = None
    video: VideoFile | None = None

    def read(self) -> npt.NDArray[np.uint8]:
        """Returns the decoded image, (H, W, 3) uint8 BGR. Raises like `read_image` and `VideoFile.read`."""
        return read_image(self.path) if self.video is None else self.video.read(int(self.image_id))


class Content(NamedTuple):
    """A decoded image, (H, W, 3) uint8 BGR, and its poses."""

    image: npt.NDArray[np.uint8]
    poses: ImagePoses


def find_images(inputs: Sequence[Path], poses: PoseSource) -> tuple[list[PosedImage], list[Path]]:
    """Returns the images with poses that `inputs` name, and a list of the images without poses.

    A folder stands for the images directly in it, in the order of their names: files with the suffix of an
    image, and files with any other suffix that `poses` list. An image that is itself an input must be in
    `poses`. If a file of poses lists none of the images in their folders, they are looked up by their file
    names alone, with a DatasetWarning. An image is returned once, even if several paths lead to it.

    Raises InputError if an input does not exist, if an image that is itself an input has no poses, if two
    files have the same entry in `poses`, or if no image has poses.
    """
    found, unknown = _look_up(inputs, poses)
    if not found and unknown and isinstance(poses, PoseFile):
        found, unknown = _look_up(inputs, poses.without_folders())
        warn_of_other_folders([each.path for each in found])
    for path in inputs:
        if real_path(path) in unknown:
            raise InputError(f"{path}: the poses do not list this image{names_instead(poses)}")
    if not found and unknown:
        count, path = len(unknown), next(iter(unknown.values()))
        raise InputError(
            f"the poses list none of the {count} images found, such as {path}{names_instead(poses)}"
        )
    if not found:
        raise InputError(f"no images found in {', '.join(map(str, inputs))}")
    return found, list(unknown.values())


def _look_up(inputs: Sequence[Path], poses: PoseSource) -> tuple[list[PosedImage], dict[Path, Path]]:
    """Returns the images with poses, and the others by their real paths."""
    found: dict[int | str, PosedImage] = {}
    unknown: dict[Path, Path] = {}
    for path in (path for each in inputs for path in _images_of(each, poses)):
        image_id = poses.image_id(path)
        if image_id is None:
            unknown.setdefault(real_path(path), path)
            continue
        first = found.setdefault(image_id, PosedImage(path, image_id, poses, version_of(path)))
        if real_path(first.path) != real_path(path):
            raise InputError(f"{first.path} and {path} are both image {shown(image_id)} of the poses")
    return list(found.values()), unknown


def names_instead(poses: PoseSource) -> str:
    """Returns an example of the images that a file or folder of poses lists, for messages."""
    return f"; they list {poses.example()}" if isinstance(poses, (PoseFile, PoseFolder)) else ""


def warn_of_other_folders(images: Sequence[Path]) -> None:
    """Warns that images were found by their file names alone, see `PoseFile.without_folders`."""
    if images:
        how = "by the file name alone, because the poses list it in another folder"
        more = f" (and {len(images) - 1:,} more)" if len(images) > 1 else ""
        warnings.warn(f"{images[0]}: found {how}{more}", DatasetWarning, stacklevel=3)


def require_inputs(inputs: Sequence[Path]) -> None:
    """Raises InputError if an input of `find_images` does not exist."""
    for given in inputs:
        if not given.exists():
            raise InputError(f"{given}: no such file or folder{_what_else(given)}")


def _images_of(given: Path, poses: PoseSource) -> list[Path]:
    require_inputs([given])
    if not given.is_dir():
        return [given]
    return sorted(path for path in given.iterdir() if _is_image(path, poses))


def _what_else(given: Path) -> str:
    """Returns a hint on what a path that does not exist was probably meant to be, for messages."""
    if re.match(r"[a-z]+:/", str(given)):  # a URL, of whose two slashes Path keeps one
        return "; URLs are not supported: download it first"
    if glob.has_magic(str(given)):
        return "; patterns are not supported: give the folder, or let the shell expand the pattern"
    return ""


def _is_image(path: Path, poses: PoseSource) -> bool:
    is_named = isinstance(poses, PoseFile) and poses.names_file(path) and path.is_file()
    return is_named or path.suffix.lower() in IMAGE_SUFFIXES


def read_posed_image(image: PosedImage) -> Content:
    """Reads an image and its poses.

    Raises InputError if one of them is damaged, if the image does not have the size that its poses are for,
    or if the poses are not in pixels (`unit_problem`), OSError if one cannot be read, and GoneError if the
    poses are gone.
    """
    return find_content(image.path, image.read(), image.source)


def find_content(path: Path, pixels: npt.NDArray[np.uint8], source: PoseSource) -> Content:
    """Returns a decoded image, (H, W, 3) uint8 BGR, with its poses.

    path: where the image is, or a name by which `source` knows it.

    Raises like `read_posed_image`.
    """
    height, width = pixels.shape[:2]
    poses = source.find(path, (height, width), pixels)
    if poses is None:
        raise GoneError(f"{path}: its poses are gone: put them back, and {AGAIN}")
    if poses.size is not None:
        require_size(path, pixels, poses.size, "its poses are for")
    problem = unit_problem(poses.keypoints, (height, width))
    if problem is not None:
        raise InputError(f"{path}: {problem}")
    return Content(pixels, poses)


def try_to_read(image: PosedImage) -> Content | str:
    """Returns an image and its poses, or a line that says why the image is left out.

    Raises GoneError like `problem_with`.
    """
    try:
        return read_posed_image(image)
    except GoneError:
        raise
    except (InputError, OSError) as error:
        file = image.path if image.video is None else image.video.path
        return problem_with(file, image.version, error)
    except MemoryError:
        return f"{image.path}: not enough memory to read it"
