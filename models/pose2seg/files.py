"""Reading and writing files so that what goes wrong can be told in one line."""

import errno
import json
import os
import secrets
import shutil
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pose2seg.errors import InputError
from pose2seg.image_size import declared_pixels


def read_json(path: Path) -> Any:
    """The content of a JSON file; a large one shows its progress where the standard error is a terminal.

    Raises InputError with the position of a mistake, OSError if unreadable.
    """
    try:
        text = _decoded(path.read_bytes())
        hidden = None if len(text) >= _LARGE_JSON else True
        with tqdm(desc=f"reading {path.name}", unit=" records", disable=hidden) as bar:

            def count(record: dict[str, Any]) -> dict[str, Any]:
                bar.update()
                return record

            return json.loads(text, object_hook=count)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except UnicodeDecodeError as error:
        encoding = error.encoding.upper()
        raise InputError(f"{path}: not JSON: byte {error.start} is not {encoding}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise InputError(f"{path}: not JSON that can be read: {error}") from error


def _decoded(content: bytes) -> str:
    """The text of a JSON file: UTF-8, or what a byte order mark says, without the mark."""
    return content.decode(json.detect_encoding(content))


_LARGE_JSON = 2**24  # characters, which take about a second


def finite_number(value: Any, what: str) -> float:
    """A number of a JSON file. Raises InputError that begins with `what` if float32 has none for it."""
    if type(value) not in (int, float) or not abs(value) <= _LARGEST:
        raise InputError(f"{what} must be finite in float32, got {shown(value)}")
    return float(value)


_LARGEST = float(np.finfo(np.float32).max)


def shown(value: Any) -> str:
    """A value as it stands in a message: on one line, and not for ever."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def shown_path(path: Path) -> str:
    """A path as it stands in a message: whole, unless no file system has one that long."""
    text = str(path)
    return text if len(text) <= 400 else f"{text[:200]}...{text[-60:]}"


def is_there(path: Path) -> bool:
    """Whether it is a file; a name that is too long for one is not. Raises OSError if that cannot be told."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


#: Of an image; decoded, it is 805 MB. A small file may hold a much larger one.
LARGEST_IMAGE = 2**28  # pixels
_LARGEST_FILE = 4 * LARGEST_IMAGE  # bytes, which the largest image takes uncompressed, with its opacity


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """A photograph, (H, W, 3) uint8 BGR.

    Raises InputError if it is not an image, or one of more than `LARGEST_IMAGE` pixels, OSError if it is
    unreadable, MemoryError if there is too little.
    """
    return _decode_image(path, cv2.IMREAD_COLOR)


def require_size(path: Path, image: npt.NDArray[np.uint8], size: tuple[int, int], claim: str) -> None:
    """Raise InputError unless a photograph that was read from a path has a size (height, width).

    claim: what says so, as it stands in the message before the size.
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return
    problem = f"{path}: is {width} x {height}, but {claim} {size[1]} x {size[0]}"
    if (width, height) == size and _stored_size(path) == size:
        problem += (
            ", as it is when its EXIF orientation is ignored: if the annotations are of the picture as it is "
            'shown, swap its "width" and "height" there; if not, remove the orientation from the file'
        )
    raise InputError(problem)


def _stored_size(path: Path) -> tuple[int, int]:
    """Height and width of a photograph that nobody turns."""
    height, width = _decode_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION).shape[:2]
    return height, width


def _decode_image(path: Path, flags: int) -> npt.NDArray[np.uint8]:
    encoded = _read_encoded(path)
    _require_pixels(path, declared_pixels(encoded))
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        why = f": {error.err}" if encoded else ""
        raise InputError(f"{path}: not an image that OpenCV can read{why}") from error
    if image is None:
        raise InputError(f"{path}: not an image that OpenCV can read")
    _require_pixels(path, image.shape[0] * image.shape[1])
    return image.astype(np.uint8, copy=False)


def _read_encoded(path: Path) -> bytes:
    """What is in a file, or in a pipe that this process was given open; another one may never end."""
    status = path.stat()
    given = _descriptor(path) is not None
    if not (given or stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise InputError(f"{path}: is a pipe or a device, expected the file of an image")
    _require_bytes(path, status.st_size)
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1 if given else -1)
    _require_bytes(path, len(content))
    return content


def _require_bytes(path: Path, size: int) -> None:
    if size > _LARGEST_FILE:
        raise InputError(f"{path}: has {size:,} bytes, expected an image of at most {_LARGEST_FILE:,}")


def _require_pixels(path: Path, pixels: int) -> None:
    if pixels > LARGEST_IMAGE:
        raise InputError(f"{path}: has {pixels:,} pixels, expected an image of at most {LARGEST_IMAGE:,}")


def checksum(path: Path) -> int:
    """CRC-32 of a file's content."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            crc = zlib.crc32(block, crc)
    return crc


def real_path(path: Path) -> Path:
    """Where the file is, symbolic links followed: the same for all names of it."""
    return Path(os.path.realpath(path))


def require_distinct_files(read: Iterable[Path | None], written: Iterable[tuple[Path, str]]) -> None:
    """Raise InputError if one of `written`, (path, content), would replace another or one of `read`.

    A folder in `read` stands for the files in it, None for none.
    """
    named = [path for path in read if path is not None]
    files = [file for path in named for file in (path.iterdir() if path.is_dir() else [path])]
    taken = {real_path(file): f"the input {file}" for file in files}
    for path, content in written:
        other = taken.setdefault(real_path(path), content)
        if other is not content:
            raise InputError(f"{path}: {content} would replace {other}")


def make_folder(path: Path) -> None:
    """Make a folder and those that it is in, where they are not there. Raises InputError for a file."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, expected a folder")
    path.mkdir(parents=True, exist_ok=True)


def require_no_folder(path: Path) -> None:
    """Raise InputError if a file cannot be written because there is a folder."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")


def is_stream(path: Path) -> bool:
    """Whether it takes what is written at once, and cannot be replaced: a pipe, a device, or /dev/stdout."""
    return _descriptor(path) is not None or (path.exists() and not path.is_file())


def _descriptor(path: Path) -> int | None:
    """The descriptor of an open file of this process that a path names, such as 1 of /dev/stdout.

    What it is open on cannot be opened anew by that name without losing what is in it.
    """
    open_files = [os.path.realpath(folder) for folder in ("/dev/fd", "/proc/self/fd")]
    while path.exists():
        if os.path.realpath(path.parent) in open_files:
            return int(path.name)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return None


def _open_stream(path: Path) -> BinaryIO:
    descriptor = _descriptor(path)
    return path.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb")


@contextmanager
def atomic_writer(path: Path, unfinished_in: Path | None = None) -> Iterator[BinaryIO]:
    """A file that appears at `path` whole when the block is left, or not at all when an exception leaves it.

    unfinished_in: a folder on the same file system to write it in; by default the one that it is going to be
        in, where a kill leaves what `remove_unfinished` removes.

    Symbolic links are followed, missing parent folders are made, and a file that is replaced leaves its
    permissions, and where possible its owner, to the new one. A stream (`is_stream`) takes what is written at
    once. Raises InputError for a folder, OSError for what else cannot be written.
    """
    require_no_folder(path)
    if is_stream(path):
        with _naming(path), _open_stream(path) as file:
            yield file
        return
    target = real_path(path)
    folder = unfinished_in or target.parent
    for needed in (target.parent, folder):
        needed.mkdir(parents=True, exist_ok=True)
    unfinished = folder / _unfinished_name()
    try:
        with _naming(path, unfinished):
            with unfinished.open("wb") as file:
                _take_permissions(file.fileno(), target)  # before there is anything to read in it
                yield file
            _move(unfinished, target)
    finally:
        if unfinished.exists():
            unfinished.unlink()


def _unfinished_name() -> str:
    """Not made of the name of the file, which may already be the longest that the file system takes."""
    return f".{secrets.token_hex(8)}"


def _take_permissions(file: int, replaced: Path) -> None:
    if not replaced.exists():
        return
    status = replaced.stat()
    for owner in ((-1, status.st_gid), (status.st_uid, -1)):
        with suppress(OSError):  # of those who may not give files away
            os.fchown(file, *owner)
    with suppress(PermissionError):  # of a file system whose files all have the same ones
        os.fchmod(file, status.st_mode & 0o777)


def _move(file: Path, target: Path) -> None:
    try:
        file.replace(target)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        # Nobody can replace a mount point, such as a file of docker run -v, or move to another file system.
        shutil.copyfile(file, target)


@contextmanager
def replacing_together(folder: Path) -> Iterator[Path]:
    """A folder for new files, which take their places in `folder` when the block is left, and not before.

    An exception that leaves the block, as of a full disk, leaves everything as it was. What a kill leaves
    `remove_unfinished` removes.
    """
    unfinished = folder / _unfinished_name()
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        files = sorted(path for path in unfinished.rglob("*") if path.is_file())
        for file in files:
            require_no_folder(folder / file.relative_to(unfinished))
        for file in files:
            target = real_path(folder / file.relative_to(unfinished))
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as opened:
                _take_permissions(opened.fileno(), target)
            _move(file, target)
    except OSError as error:
        path = Path(error.filename or folder)
        if not path.is_relative_to(unfinished):
            raise
        raise OSError(error.errno, error.strerror, str(folder / path.relative_to(unfinished))) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def append_line(path: Path, line: bytes) -> None:
    """Write a line, without its end, at the end of a file; if that fails, the file may hold a part of it."""
    with _naming(path), path.open("ab") as file:
        file.write(line + b"\n")


@contextmanager
def _naming(path: Path, *aliases: Path) -> Iterator[None]:
    """Tell the path in an OSError that names no file, as that of a full disk, or one of `aliases`."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, *map(str, aliases)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write a picture, (H, W, 3) uint8 BGR or with opacity (H, W, 4), as `atomic_writer` does.

    Raises InputError for one with a side beyond PNG's million pixels.
    """
    done, encoded = cv2.imencode(".png", image)
    if not done:
        raise InputError(f"{path}: a picture of {image.shape[1]} x {image.shape[0]} pixels cannot be a PNG")
    with atomic_writer(path) as file:
        file.write(encoded.tobytes())


def remove_unfinished(folder: Path) -> None:
    """Remove what `atomic_writer` and `replacing_together` leave in a folder if they are killed.

    Nobody may be writing there.
    """
    for path in folder.glob("." + "[0-9a-f]" * 16):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
