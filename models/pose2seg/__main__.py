"""The program `pose2seg`, also as `python -m pose2seg`, for when its script is not on the PATH."""

import sys

from pose2seg.commands.cli import main
from pose2seg.common.allocator import keep_freed_memory


def program() -> int:
    """Runs the command line in a process that does nothing else, and returns its exit code."""
    keep_freed_memory()
    return main()


if __name__ == "__main__":
    sys.exit(program())
