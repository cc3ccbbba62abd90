"""Photographs of people whose poses are known: finding them, and reading them ahead of their use."""

import os
import time
import warnings
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pose2seg.errors import InputError
from pose2seg.files import read_image, real_path, require_size, shown
from pose2seg.gone import AGAIN, GoneError, Version, problem_with, version_of
from pose2seg.poses import ImagePoses, PoseFile, PoseFolder, PoseSource, unit_problem
from pose2seg.remarks import DatasetWarning

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


class Photograph(NamedTuple):
    """An image, and the source of its poses; neither image nor poses are in memory.

    version: of the image's file when it was found; without one, it may never have been readable.
    """

    path: Path
    image_id: int | str
    source: PoseSource
    version: Version = None


class Content(NamedTuple):
    """What is in a photograph; the image is (H, W, 3) uint8 BGR."""

    image: npt.NDArray[np.uint8]
    poses: ImagePoses


def find_photographs(inputs: Sequence[Path], poses: PoseSource) -> tuple[list[Photograph], list[Path]]:
    """The images that `inputs` name, each once whatever its path; and those without poses.

    A folder stands for the images directly in it, in the order of their names: files with the suffix of an
    image, and those that `poses` name with whatever they end in. Those that `poses` does not know are the
    second list returned. An image named by itself must be in `poses`. If none of them is known by the folder
    that a file of poses names, those are taken that are by their names alone, with a DatasetWarning.

    Raises InputError for an input that does not exist, an unknown image, two files with the same entry in
    `poses`, or if no photograph is left.
    """
    found, unknown = _look_up(inputs, poses)
    if not found and unknown and isinstance(poses, PoseFile):
        found, unknown = _look_up(inputs, poses.without_folders())
        tell_other_folders([each.path for each in found])
    for path in inputs:
        if real_path(path) in unknown:
            raise InputError(f"{path}: the poses do not list this image{names_instead(poses)}")
    if not found and unknown:
        count, path = len(unknown), next(iter(unknown.values()))
        raise InputError(
            f"none of the {count} images found is in the poses, such as {path}{names_instead(poses)}"
        )
    if not found:
        raise InputError(f"no images found in {', '.join(map(str, inputs))}")
    return found, list(unknown.values())


def _look_up(inputs: Sequence[Path], poses: PoseSource) -> tuple[list[Photograph], dict[Path, Path]]:
    """The images of which poses are known; and the others, by their real paths."""
    found: dict[int | str, Photograph] = {}
    unknown: dict[Path, Path] = {}
    for path in (path for each in inputs for path in _images_of(each, poses)):
        image_id = poses.image_id(path)
        if image_id is None:
            unknown.setdefault(real_path(path), path)
            continue
        first = found.setdefault(image_id, Photograph(path, image_id, poses, version_of(path)))
        if real_path(first.path) != real_path(path):
            raise InputError(f"{first.path} and {path} are both image {shown(image_id)} of the poses")
    return list(found.values()), unknown


def names_instead(poses: PoseSource) -> str:
    """What a file or a folder of poses has in place of images that it does not know, for messages."""
    return f"; these have {poses.example()}" if isinstance(poses, (PoseFile, PoseFolder)) else ""


def tell_other_folders(images: Sequence[Path]) -> None:
    """Warn that images were found by their names alone, see `PoseFile.without_folders`."""
    if images:
        how = "by the name alone, as it is not in the folder that the poses name"
        more = f" (and {len(images) - 1:,} more)" if len(images) > 1 else ""
        warnings.warn(f"{images[0]}: found {how}{more}", DatasetWarning, stacklevel=3)


def _images_of(given: Path, poses: PoseSource) -> list[Path]:
    if not given.exists():
        raise InputError(f"{given}: no such file or folder")
    if not given.is_dir():
        return [given]
    return sorted(path for path in given.iterdir() if _is_image(path, poses))


def _is_image(path: Path, poses: PoseSource) -> bool:
    is_named = isinstance(poses, PoseFile) and poses.names_file(path) and path.is_file()
    return is_named or path.suffix.lower() in IMAGE_SUFFIXES


def read_photograph(photograph: Photograph) -> Content:
    """An image and its poses.

    Raises InputError if one of them is damaged, if the image is not of the size that its poses are for, or
    if these are not in its pixels (`unit_problem`), OSError if one cannot be read, and GoneError if the poses
    are not there any more.
    """
    path = photograph.path
    image = read_image(path)
    poses = photograph.source.find(path)
    if poses is None:
        raise GoneError(f"{path}: its poses are not there any more: put them back, and {AGAIN}")
    if poses.size is not None:
        require_size(path, image, poses.size, "its poses are for")
    height, width = image.shape[:2]
    problem = unit_problem(poses.keypoints, (height, width))
    if problem is not None:
        raise InputError(f"{path}: {problem}")
    return Content(image, poses)


def read_ahead(
    batches: Iterable[Sequence[Photograph]],
) -> Generator[list[tuple[Photograph, Content | str]], None, None]:
    """Read photographs a batch at a time; threads read the next one while the caller works with one.

    Gives the content of each photograph, or in one line why it cannot be read. A batch is emptied when the
    next one is asked for, so that no more than two are in memory.

    Raises GoneError for a photograph that could be read when it was found, and now cannot, or for its poses.
    """
    to_read = [*batches, []]
    readers = _Readers(min(_THREADS, 2 * max(map(len, to_read))))
    try:
        ahead: list[tuple[Photograph, Future[Content | str]]] = []
        for batch in to_read:
            ready, ahead = ahead, [(each, readers.read(each)) for each in batch]
            if ready:
                contents = [(each, future.result()) for each, future in ready]
                ready.clear()
                yield contents
                contents.clear()
    finally:
        readers.close()


_LONGEST_DECODING = 10.0  # seconds, of the largest image
_THREADS = min(32, (os.cpu_count() or 1) + 4)  # at most, of which some wait for the disk


class _Readers:
    """Threads that read photographs; the process ends without one that is blocked, as by a dead network."""

    def __init__(self, count: int) -> None:
        self._closed = False
        self._asked: SimpleQueue[tuple[Photograph, Future[Content | str]] | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def read(self, photograph: Photograph) -> Future[Content | str]:
        future: Future[Content | str] = Future()
        self._asked.put((photograph, future))
        return future

    def close(self) -> None:
        """What is not wanted is not read. What is being decoded is waited for, or Python would abort."""
        self._closed = True
        for _ in self._threads:
            self._asked.put(None)
        end = time.monotonic() + _LONGEST_DECODING
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))

    def _work(self) -> None:
        while self._read_next():  # which leaves nothing behind while the thread waits
            pass

    def _read_next(self) -> bool:
        asked = self._asked.get()
        if asked is None or self._closed:
            return False
        photograph, future = asked
        try:
            future.set_result(_try_to_read(photograph))
        except BaseException as error:  # for who waits for it
            future.set_exception(error)
        return True


def _try_to_read(photograph: Photograph) -> Content | str:
    try:
        return read_photograph(photograph)
    except GoneError:
        raise
    except (InputError, OSError) as error:
        return problem_with(photograph.path, photograph.version, error)
    except MemoryError:
        return f"{photograph.path}: there is not enough memory to read it"
