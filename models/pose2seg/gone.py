"""Files that could be read when a run began, and cannot be any more."""

import os
import stat
from pathlib import Path
from typing import TypeAlias

from pose2seg.errors import InputError, in_one_line

#: What tells a file from one that takes its place; JSON can hold it. None for what is no file to be read.
Version: TypeAlias = "list[int] | None"


#: What to do when it is back; an evaluation cannot be resumed.
AGAIN = "resume or start again"


class GoneError(InputError):
    """What was there when a run began is not there any more.

    It stops the run: what is out of reach for a while, as on a network drive that is lost, must not be taken
    for what cannot be used, and be left out.
    """


def version_of(path: Path) -> Version:
    """The version of a file as it is now."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not (stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK)):
        return None
    return [status.st_size, status.st_mtime_ns]


def problem_with(path: Path, version: Version, error: InputError | OSError) -> str:
    """In one line, why a file is left out.

    version: of the file when the run began; without one it may never have been readable.

    Raises GoneError for a file that could be read then, or that was another one.
    """
    problem = in_one_line(error)
    if version is None or (isinstance(error, InputError) and version == version_of(path)):
        return problem
    was = "another file" if isinstance(error, InputError) else "there"
    raise GoneError(f"{problem}, though it was {was} when the run began: put it back, and {AGAIN}") from error
