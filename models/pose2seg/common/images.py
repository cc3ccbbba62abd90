"""Image files: read by OpenCV, up to a maximum size, and written as PNG."""

import stat
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.common.errors import InputError
from pose2seg.common.files import atomic_writer, open_descriptor
from pose2seg.common.image_size import declared_pixels

#: The most pixels of an image, which takes 805 MB decoded. A small file may hold a much larger image.
LARGEST_IMAGE = 2**28
_LARGEST_FILE = 4 * LARGEST_IMAGE  # bytes: the size of the largest image, uncompressed and with alpha


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Returns the decoded image, (H, W, 3) uint8 BGR.

    Raises InputError if the file is not an image or has more than `LARGEST_IMAGE` pixels, OSError if it is
    unreadable, and MemoryError if there is not enough memory.
    """
    return decode_image(_read_encoded(path), path)


def decode_image(encoded: bytes, name: Path | str, flags: int = cv2.IMREAD_COLOR) -> npt.NDArray[np.uint8]:
    """Returns an image from the content of its file, (H, W, 3) uint8 BGR.

    name: what the messages call the image, such as its path.
    flags: those of `cv2.imdecode`.

    Raises InputError if it is not an image or has more than `LARGEST_IMAGE` pixels, and MemoryError if there
    is not enough memory.
    """
    _require_pixels(name, declared_pixels(encoded))
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        why = f": {error.err}" if encoded else ""
        raise InputError(f"{name}: not an image that OpenCV can read{why}") from error
    if image is None:
        raise InputError(f"{name}: not an image that OpenCV can read")
    _require_pixels(name, image.shape[0] * image.shape[1])
    return image.astype(np.uint8, copy=False)


def require_size(path: Path, image: npt.NDArray[np.uint8], size: tuple[int, int], claim: str) -> None:
    """Raises InputError unless an image that was read from a path has the expected size, (height, width).

    path: its file, or a name if the image is in no file.
    claim: the words before the size in the message, which say where it was expected.
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return
    problem = f"{path}: is {width} x {height}, but {claim} {size[1]} x {size[0]}"
    if (width, height) == size and path.is_file() and _stored_size(path) == size:
        problem += (
            ", its size without its EXIF orientation: if the annotations are for the image as displayed, "
            'swap its "width" and "height" there; otherwise remove the orientation from the file'
        )
    raise InputError(problem)


def _stored_size(path: Path) -> tuple[int, int]:
    """Returns the height and width of an image without its EXIF orientation."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    height, width = decode_image(_read_encoded(path), path, flags).shape[:2]
    return height, width


def _read_encoded(path: Path) -> bytes:
    """Returns the content of a file, or of a pipe that was already open; another pipe may never end."""
    status = path.stat()
    given = open_descriptor(path) is not None
    if not (given or stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise InputError(f"{path}: must be an image file, got a pipe or a device")
    _require_bytes(path, status.st_size)
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1 if given else -1)
    _require_bytes(path, len(content))
    return content


def _require_bytes(path: Path, size: int) -> None:
    if size > _LARGEST_FILE:
        raise InputError(f"{path}: must have at most {_LARGEST_FILE:,} bytes, got {size:,}")


def _require_pixels(name: Path | str, pixels: int) -> None:
    if pixels > LARGEST_IMAGE:
        raise InputError(f"{name}: must have at most {LARGEST_IMAGE:,} pixels, got {pixels:,}")


def write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Writes an image, uint8 (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA, with `atomic_writer`.

    Raises InputError if a side is longer than the million pixels of a PNG.
    """
    done, encoded = cv2.imencode(".png", image)
    if not done:
        raise InputError(f"{path}: an image of {image.shape[1]} x {image.shape[0]} pixels cannot be a PNG")
    with atomic_writer(path) as file:
        file.write(encoded.tobytes())


def write_indexed_png(path: Path, indices: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> None:
    """Writes a PNG whose pixels are indices, (H, W) uint8, into a palette, (n, 3) uint8 RGB.

    OpenCV cannot write palettes. The file is written with `atomic_writer`.
    """
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, with a palette, not interlaced
    lines = np.pad(indices, ((0, 0), (1, 0)))  # a line begins with the number of its filter, 0 for none
    with atomic_writer(path) as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in (
            (b"IHDR", header),
            (b"PLTE", palette.tobytes()),
            (b"IDAT", zlib.compress(lines.tobytes())),
            (b"IEND", b""),
        ):
            chunk = kind + data
            file.write(struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk)))
