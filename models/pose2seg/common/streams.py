"""The standard streams of a command, which may be closed or full, or have lost their reader."""

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO


@contextmanager
def dependable_streams() -> Iterator[None]:
    """Makes the standard streams exist, and accept every character, for the duration of the block.

    A failed write to the standard error is ignored. A failed write to the standard output raises an OSError
    that names it or, if its reader has gone, as `head` does, exits with 141.
    """
    _open_missing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may contain bytes that are not text
    with redirect_stderr(_Messages(sys.stderr)), redirect_stdout(_Output(sys.stdout)):
        yield


def _open_missing() -> None:
    """Opens the streams that a daemon has closed, in order, so that each gets the descriptor that C uses."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


class _Stream:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Messages(_Stream):
    """The standard error. A message that cannot be written is no reason to fail."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class _Output(_Stream):
    """The standard output, whose errors have its name."""

    def write(self, text: str) -> int:
        with self._failing():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Otherwise Python would fail again, with a traceback, when it flushes the buffer at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if isinstance(error, BrokenPipeError):
                sys.exit(128 + signal.SIGPIPE)
            raise OSError(error.errno, error.strerror, "standard output") from error
