"""Delaying Ctrl-C until a unit of work is finished."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tqdm import tqdm


@contextmanager
def uninterrupted(what: str) -> Iterator[None]:
    """Delays Ctrl-C until the end of the block, where KeyboardInterrupt is raised.

    Does nothing outside the main thread, or if Ctrl-C is not handled by Python's default handler.

    what: the name of the unit of work, which is printed if Ctrl-C is pressed.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = False

    def remember(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        if not pressed:
            tqdm.write(f"pose2seg: stopping when {what} is done", file=sys.stderr)
        pressed = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt
