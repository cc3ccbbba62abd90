"""A lock on a folder, so that only one prediction or training writes to it at a time."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pose2seg.common import distributed
from pose2seg.common.errors import InputError
from pose2seg.common.files import make_folder

LOCK = "lock"


@contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Creates a folder and locks it for the duration of the block.

    If the process is killed, the lock is released, even if its forked workers live on. Raises InputError with
    the message `taken` if a process that is not in the same `distributed.joined` block holds the lock.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        if distributed.gather(distributed.rank() == 0 and _is_taken(lock))[0]:
            raise InputError(f"{folder}: {taken}")
        try:
            yield
        finally:
            if distributed.rank() == 0:
                (folder / LOCK).unlink(missing_ok=True)
    finally:
        lock.release()


def _is_taken(lock: FileLock) -> bool:
    """Returns whether another process holds a lock; otherwise acquires it."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return False


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # the errors of file systems without locks
