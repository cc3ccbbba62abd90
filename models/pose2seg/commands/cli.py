"""The command line: `pose2seg COMMAND ...`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Any

from pose2seg.commands.parsers import demo, evaluate, export, predict, templates, train
from pose2seg.commands.parsers.arguments import Parser
from pose2seg.common.errors import InputError, in_one_line
from pose2seg.common.streams import dependable_streams

_PARSERS = {
    "demo": demo,
    "evaluate": evaluate,
    "export": export,
    "predict": predict,
    "templates": templates,
    "train": train,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. Returns its exit code: 0; 2 for an error that the user can fix; 130 after Ctrl-C.

    A command may return another exit code.
    """
    with dependable_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    options = argparse.Namespace()
    try:
        _parser().parse_args(arguments, options)
        _require_folder()
        code = _import_command(options.command).run(options) or 0
        sys.stdout.flush()  # here, so that an error is reported
        return int(code)
    except (InputError, OSError) as error:
        return _failed(in_one_line(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _failed("out of memory" + (": try a smaller --batch-size" if "batch_size" in options else ""))
    except KeyboardInterrupt:
        return 130


def _require_folder() -> None:
    """Raises InputError if the current folder has been removed, which numerical libraries do not survive."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise InputError("the current folder has been removed: change to another one") from error


def _parser() -> Parser:
    parser = Parser(prog="pose2seg", description="Instance masks of people from their poses.")
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for of_command in _PARSERS.values():
        of_command.add_to(commands)
    return parser


class _Version(argparse.Action):
    """An option that looks up the version only if it is used."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version of the package and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(parser.prog, version("pose2seg_ops"))
        parser.exit()


def _import_command(name: str) -> ModuleType:
    """Imports the module of a command, which takes a second; Ctrl-C ends it at once, without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # in the background, Ctrl-C may be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        command = import_module(f"pose2seg.commands.{name}")
        import cv2
    finally:
        signal.signal(signal.SIGINT, handler)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # this package reports damaged images
    return command


def _failed(message: str) -> int:
    if "TORCHELASTIC_RUN_ID" in os.environ:  # several processes may have the same error
        from pose2seg.common import distributed

        if not distributed.is_first_to_say(message):
            return 2
    print(f"pose2seg: error: {message}", file=sys.stderr)
    return 2


def _is_out_of_memory(error: Exception) -> bool:
    """Returns whether an error means that memory ran out, for which torch has a class only on GPUs."""
    is_of_gpu = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or is_of_gpu or "DefaultCPUAllocator" in str(error)
