"""The identity of a file, to check that it was not written or replaced."""

from pathlib import Path


def identity(path: Path) -> tuple[int, int, int]:
    """Returns numbers that change if a file is written or replaced, but not if it is read."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
