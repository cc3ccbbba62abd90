"""Files that were readable when a run began, and no longer are."""

import os
import stat
from pathlib import Path
from typing import TypeAlias

from pose2seg.common.errors import InputError, in_one_line

#: Size and modification time, which tell whether a file has been replaced; None if it is not readable.
Version: TypeAlias = "list[int] | None"


#: What the user should do once the file is back. An evaluation cannot be resumed.
AGAIN = "resume or start again"


class GoneError(InputError):
    """Raised if something that was there when a run began is gone.

    It stops the run. A file that is unavailable for a while, such as on a lost network drive, must not be
    left out like a file that cannot be used.
    """


def version_of(path: Path) -> Version:
    """Returns the current version of a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not (stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK)):
        return None
    return [status.st_size, status.st_mtime_ns]


def problem_with(path: Path, version: Version, error: InputError | OSError) -> str:
    """Returns, in one line, why a file is left out.

    version: the version of the file when the run began; None if it was not readable.

    Raises GoneError if the file was readable then, or was a different one.
    """
    problem = in_one_line(error)
    if version is None or (isinstance(error, InputError) and version == version_of(path)):
        return problem
    was = "another file" if isinstance(error, InputError) else "there"
    raise GoneError(
        f"{problem}, although it was {was} when the run began: put it back, and {AGAIN}"
    ) from error
