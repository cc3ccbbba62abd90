"""Runs another program within the time that is left, with its output in a log."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.gpu.command import Run, Skipped

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable


def execute(
    run: Run, command: Sequence[str], log: str, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Returns the exit status and the output of a program, which is appended to the log as it arrives.

    Raises Skipped if the program is not installed, and subprocess.TimeoutExpired if the time of the command
    ends first.
    """
    if shutil.which(command[0]) is None:
        raise Skipped(f"{Path(command[0]).name} is not installed")
    path = run.record.log(log)
    with path.open("a") as file:
        start = file.tell()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=max(run.seconds_left, 1),
            check=False,
        )
    return done.returncode, path.read_bytes()[start:].decode(errors="replace")
