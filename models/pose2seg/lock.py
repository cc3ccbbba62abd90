"""A folder that only one prediction or training at a time writes to."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pose2seg import distributed
from pose2seg.errors import InputError
from pose2seg.files import make_folder

LOCK = "lock"


@contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Keep the folder, which is made, from others; a kill gives it free, whatever its forked workers do.

    Raises InputError that says `taken` where another one, not of the same `distributed.joined` block, has it.
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
    """Whether another process holds a lock; if not, this one does until it is released."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return False


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems say that have none
