"""Files: atomic writing, checks of paths, and errors that name the file."""

import errno
import os
import secrets
import shutil
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pose2seg.common.errors import InputError


def is_there(path: Path) -> bool:
    """Returns whether a path is that of a file; a name that is too long is not.

    Raises OSError if this cannot be determined.
    """
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def find_name(folder: Path, name: str) -> Path:
    """Returns the path of a name in a folder, in the Unicode form in which it exists there.

    macOS, for example, writes an accent as a character of its own, and most other systems do not.
    """
    forms = {unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)} - {name}
    paths = [folder / form for form in (name, *sorted(forms))]
    return next((path for path in paths if is_there(path)), paths[0])


def checksum(path: Path) -> int:
    """Returns the CRC-32 of a file's content."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            crc = zlib.crc32(block, crc)
    return crc


def real_path(path: Path) -> Path:
    """Returns a path without symbolic links, which is the same for all names of a file."""
    return Path(os.path.realpath(path))


def require_distinct_files(read: Iterable[Path | None], written: Iterable[tuple[Path, str]]) -> None:
    """Raises InputError if one of `written`, (path, content), would replace another or one of `read`.

    A folder in `read` stands for the files in it; None is ignored.
    """
    named = [path for path in read if path is not None]
    files = [file for path in named for file in (path.iterdir() if path.is_dir() else [path])]
    taken = {real_path(file): f"the input {file}" for file in files}
    for path, content in written:
        other = taken.setdefault(real_path(path), content)
        if other is not content:
            raise InputError(f"{path}: {content} would replace {other}")


def make_folder(path: Path) -> None:
    """Creates a folder and its missing parents. Raises InputError if the path is that of a file."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: must be a folder, got a file")
    path.mkdir(parents=True, exist_ok=True)


def require_no_folder(path: Path) -> None:
    """Raises InputError if a path is that of a folder, in place of which no file can be written."""
    if path.is_dir():
        raise InputError(f"{path}: must be a file, got a folder")


def is_stream(path: Path) -> bool:
    """Returns whether a path can only be written to, not replaced: a pipe, a device or /dev/stdout."""
    return open_descriptor(path) is not None or (path.exists() and not path.is_file())


def open_descriptor(path: Path) -> int | None:
    """Returns the descriptor of the open file that a path names, such as 1 for /dev/stdout, or None.

    Opening such a file again by its name would truncate it.
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
    descriptor = open_descriptor(path)
    return path.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb")


@contextmanager
def atomic_writer(path: Path, unfinished_in: Path | None = None) -> Iterator[BinaryIO]:
    """Yields a file that appears at `path`, complete, when the block ends, unless it raises an exception.

    unfinished_in: the folder of the temporary file, on the same file system; by default that of `path`. A
        killed process leaves the temporary file there, and `remove_unfinished` removes it.

    Symbolic links are followed and missing parent folders are created. The new file inherits the permissions
    of the one that it replaces and, if possible, its owner. A stream (`is_stream`) is written to directly.
    Raises InputError if `path` is a folder, and OSError if the file cannot be written.
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
                _take_permissions(file.fileno(), target)  # before the file has any content to protect
                yield file
            _move(unfinished, target)
    finally:
        if unfinished.exists():
            unfinished.unlink()


def _unfinished_name() -> str:
    """Returns a random name for an unfinished file.

    A name derived from that of the finished file could be too long for the file system.
    """
    return f".{secrets.token_hex(8)}"


def _take_permissions(file: int, replaced: Path) -> None:
    if not replaced.exists():
        return
    status = replaced.stat()
    for owner in ((-1, status.st_gid), (status.st_uid, -1)):
        with suppress(OSError):  # most users must not change the owner of a file
            os.fchown(file, *owner)
    with suppress(PermissionError):  # raised by file systems without permissions for single files
        os.fchmod(file, status.st_mode & 0o777)


def _move(file: Path, target: Path) -> None:
    try:
        file.replace(target)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        # A mount point, such as a file of docker run -v, cannot be replaced, and a file cannot be moved to
        # another file system.
        shutil.copyfile(file, target)


@contextmanager
def replacing_together(folder: Path) -> Iterator[Path]:
    """Yields a folder for new files, which are moved to their places in `folder` when the block ends.

    If an exception is raised in the block, such as for a full disk, `folder` stays unchanged. A killed
    process leaves temporary files, which `remove_unfinished` removes.
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
    """Appends a line, given without its newline, to a file.

    If that fails, a part of it may be in the file.
    """
    with _naming(path), path.open("ab") as file:
        file.write(line + b"\n")


@contextmanager
def _naming(path: Path, *aliases: Path) -> Iterator[None]:
    """Puts the path into an OSError that names no file, such as that of a full disk, or names an alias."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, *map(str, aliases)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_unfinished(folder: Path) -> None:
    """Removes the files that `atomic_writer` and `replacing_together` leave in a folder if they are killed.

    No other process may be writing there.
    """
    for path in folder.glob("." + "[0-9a-f]" * 16):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
