"""A folder that only one prediction or training at a time writes to."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pose2seg import distributed
from pose2seg.errors import InputError
from pose2seg.files import make_folder

LOCK = "lock"

# A lock is held until all processes have closed its file: forked workers would keep it beyond a kill.
_held: set[IO[str]] = set()


def _close_in_child() -> None:
    for file in _held:
        file.close()


os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Keep the folder, which is made, from others; a kill gives it free.

    Raises InputError that says `taken` where another one, not of the same `distributed.joined` block, has it.
    """
    make_folder(folder)
    with (folder / LOCK).open("a") as file:
        if distributed.gather(distributed.rank() == 0 and _is_taken(file))[0]:
            raise InputError(f"{folder}: {taken}")
        _held.add(file)
        try:
            yield
        finally:
            _held.remove(file)


def _is_taken(file: IO[str]) -> bool:
    """Whether another process holds the lock of a file; if not, this one does until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # of another kind where the file system has no locks
        return isinstance(error, BlockingIOError)
    return False
