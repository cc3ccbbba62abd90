"""The standard streams of a command, which may be closed, full, or read by nobody."""

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO


@contextmanager
def dependable_streams() -> Iterator[None]:
    """Until the block is left, the standard streams are there, and take every character.

    A message that the standard error does not take is lost. What the standard output does not take is an
    OSError that names it, or exits with 141 where its reader has gone, as `head` does.
    """
    _open_missing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold what has no encoding
    with redirect_stderr(_Messages(sys.stderr)), redirect_stdout(_Output(sys.stdout)):
        yield


def _open_missing() -> None:
    """Those that a daemon has closed. In order: each gets its own number, to which libraries in C print."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


class _Stream:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Messages(_Stream):
    """The standard error. That nobody hears how it goes is no reason to fail."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class _Output(_Stream):
    """The standard output, with its name in errors."""

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
            # What is still in the buffer would fail once more at the end of Python, with a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if isinstance(error, BrokenPipeError):
                sys.exit(128 + signal.SIGPIPE)
            raise OSError(error.errno, error.strerror, "standard output") from error
