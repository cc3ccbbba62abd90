"""Processes that run a command and can be stopped."""

import json
import multiprocessing
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import torch
from pose2seg.commands import cli
from pose2seg.common.files import append_line
from pose2seg.common.images import read_image
from pose2seg.data import posed_images
from pose2seg.prediction.drawing import Image

# Processes are forked from one that has imported this module, and has not used threads.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["stopped"])

Preparation = Callable[[], object]


def nothing() -> None:
    pass


def start(arguments: list[str], said: Path, prepare: Preparation = nothing) -> BaseProcess:
    """Starts a command in another process, after `prepare`; its standard error is appended to a file."""
    process = _context.Process(target=_run, args=(arguments, said, prepare))
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):  # to find this module
        process.start()
    return process


def run(arguments: list[str], said: Path, prepare: Preparation = nothing) -> int:
    """Runs a command in another process. Returns its exit code."""
    process = start(arguments, said, prepare)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def peak_memory(arguments: list[str], said: Path) -> float:
    """Returns the peak memory, in MB, of a process that runs a command, which must succeed."""
    assert run(arguments, said) == 0, said.read_text()
    return float(said.with_suffix(".peak").read_text())


def _run(arguments: list[str], said: Path, prepare: Preparation) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    prepare()
    code = cli.main(arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said.with_suffix(".peak").write_text(str(peak))
    sys.exit(code)


def limit_file_size(size: int) -> None:
    """Makes writing files of more bytes fail, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Makes writing files of more bytes fail in the block, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def be_one_of(count: int, rank: int, port: int) -> None:
    """Sets the environment of one of several processes, as torchrun does."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ.update({name: str(number) for name, number in numbers.items()})
    os.environ.update(TORCHELASTIC_RUN_ID="test", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


def one_of_two(rank: int, port: int, reads: Path) -> None:
    """Prepares one of two processes, which appends the names of the images that it reads to a file."""
    be_one_of(2, rank, port)

    def note(path: Path) -> Image:
        append_line(reads, path.name.encode())
        return read_image(path)

    mock.patch.object(posed_images, "read_image", note).start()


def one_of_two_that_stops(rank: int, port: int, number: int, name: str) -> None:
    """Prepares one of two processes, which stops before a change, so that the other waits for it."""
    be_one_of(2, rank, port)
    stop_before_change(signal.SIGSTOP, number, name)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def stop_before_change(stop: signal.Signals, number: int, name: str) -> None:
    """Sends this process a signal before the given change to files or folders with `name` in their path."""
    before_change(lambda: os.kill(os.getpid(), stop), number, name)


def before_change(act: Callable[[], object], number: int, name: str) -> None:
    """Calls a function before the given change to files or folders with `name` in their path."""
    changes = 0

    def note(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        written = event == "open" and isinstance(arguments[1], str) and arguments[1][0] in "wa"
        if (written or event in _CHANGES) and name in str(arguments[0]):
            changes += 1
            if changes == number:
                act()

    sys.addaudithook(note)


_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")


def finished_images(output: Path) -> set[str]:
    """Returns the images that are finished according to the journal of a prediction."""
    folder = output.with_name(f"{output.name}.unfinished")
    if not (folder / "settings.json").exists():
        return set()
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines(keepends=True)]
    return {json.loads(line.partition("\t")[0])[0] for line in lines if line.endswith("\n")}
