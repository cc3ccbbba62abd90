"""Reading items in threads, one batch ahead of their use."""

import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")


def read_ahead(
    batches: Iterable[Sequence[Item]], read: Callable[[Item], Read]
) -> Generator[list[tuple[Item, Read]], None, None]:
    """Yields each batch with the results of `read` for its items, while threads read the next batch.

    A batch is emptied when the next one is requested, so that at most two are in memory. Exceptions of `read`
    are raised here.
    """
    to_read: list[Sequence[Item]] = [*batches, []]
    readers = _Readers(read, min(_THREADS, 2 * max(map(len, to_read))))
    try:
        ahead: list[tuple[Item, Future[Read]]] = []
        for batch in to_read:
            ready, ahead = ahead, [(each, readers.ask(each)) for each in batch]
            if ready:
                contents = [(each, future.result()) for each, future in ready]
                ready.clear()
                yield contents
                contents.clear()
    finally:
        readers.close()


_LONGEST_DECODING = 10.0  # seconds for the largest image
_THREADS = min(32, (os.cpu_count() or 1) + 4)  # at most; more than CPUs, as some wait for the disk


class _Readers(Generic[Item, Read]):
    """Threads that read items.

    A thread that is blocked, for example by a dead network, does not keep the process alive.
    """

    def __init__(self, read: Callable[[Item], Read], count: int) -> None:
        self._read = read
        self._closed = False
        self._asked: SimpleQueue[tuple[Item, Future[Read]] | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def ask(self, item: Item) -> Future[Read]:
        future: Future[Read] = Future()
        self._asked.put((item, future))
        return future

    def close(self) -> None:
        """Drops the items not yet begun, and waits for the rest; otherwise Python may abort at exit."""
        self._closed = True
        for _ in self._threads:
            self._asked.put(None)
        end = time.monotonic() + _LONGEST_DECODING
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))

    def _work(self) -> None:
        while self._read_next():  # a separate function, so that no item stays alive while the thread waits
            pass

    def _read_next(self) -> bool:
        asked = self._asked.get()
        if asked is None or self._closed:
            return False
        item, future = asked
        try:
            future.set_result(self._read(item))
        except BaseException as error:  # raised by `future.result`
            future.set_exception(error)
        return True
