"""The command line: `pose2seg COMMAND ...`."""

import argparse
import sys
from collections.abc import Sequence

import cv2
import torch

from pose2seg import distributed
from pose2seg.commands import demo, evaluate, export, predict, templates, train
from pose2seg.commands.arguments import Parser
from pose2seg.errors import InputError, in_one_line
from pose2seg.streams import dependable_streams
from pose2seg_ops import __version__

_COMMANDS = (demo, evaluate, export, predict, templates, train)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code: 0; 2 for what the user can put right; 130 after Ctrl-C.

    A command that returns a number has an exit code of its own.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a damaged image is reported by us
    with dependable_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    options = argparse.Namespace()
    try:
        _parser().parse_args(arguments, options)
        code = options.run(options) or 0
        sys.stdout.flush()  # while an error can still be told
        return code
    except (InputError, OSError) as error:
        return _failed(in_one_line(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _failed("out of memory" + (": try a smaller --batch-size" if "batch_size" in options else ""))
    except KeyboardInterrupt:
        return 130


def _parser() -> Parser:
    parser = Parser(prog="pose2seg", description="Instance masks of people from their poses.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


def _failed(message: str) -> int:
    if distributed.is_first_to_say(message):
        print(f"pose2seg: error: {message}", file=sys.stderr)
    return 2


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a class for it on a GPU only."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)
