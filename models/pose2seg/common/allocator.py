"""The allocator of this process."""

import ctypes

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of <malloc.h>
_LARGE = 1 << 30
_LARGEST_OF_OLDER_RELEASES = 32 << 20  # before glibc 2.35


def keep_freed_memory() -> None:
    """Lets glibc keep freed memory for the next allocation, in this process and from now on.

    By default it returns the largest blocks to the system, which must clear every page of the next one. That
    takes up to a fifth of the time of a prediction on the CPU, whose features have such sizes. The process
    keeps the most memory that it has used at once, up to 2 GiB. With another C library, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Setting either one ends the automatic adjustment of both, so the second needs the first.
    if mallopt is not None and (
        mallopt(_MMAP_THRESHOLD, _LARGE) or mallopt(_MMAP_THRESHOLD, _LARGEST_OF_OLDER_RELEASES)
    ):
        mallopt(_TRIM_THRESHOLD, 2 * _LARGE - 1)
