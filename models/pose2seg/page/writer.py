"""The page, written photograph by photograph."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import BinaryIO

from pose2seg.counts import counted
from pose2seg.files import atomic_writer
from pose2seg.page.photograph import Entry, figures, times

_FOLDER = Path(__file__).parent
_HEAD, _TAIL = (_FOLDER / "page.html").read_text("utf-8").split("$photographs")
_STYLE = (_FOLDER / "style.css").read_text("utf-8")
_SCRIPT = (_FOLDER / "page.js").read_text("utf-8")


@contextmanager
def page_writer(path: Path, unfinished_in: Path | None = None, facts: Sequence[str] = ()) -> Iterator["Page"]:
    """A `Page` that appears at `path` whole when the block is left, as files of `atomic_writer` do."""
    with atomic_writer(path, unfinished_in) as file:
        page = Page(file, facts)
        yield page
        page.finish()


class Page:
    """One HTML file that needs no other, and no network; its masks can be hidden and shown.

    Each photograph is written as it is added and then forgotten. One of 640 x 480 pixels takes about 0.1 MB.

    facts: of all the photographs, such as what the masks were made with.
    """

    def __init__(self, file: BinaryIO, facts: Sequence[str] = ()) -> None:
        self._file = file
        self._facts = facts
        self._photographs = 0
        self._people = 0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        # Nothing but this script can run in the page, whatever a photograph is called.
        script_hash = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
        self._write(Template(_HEAD).substitute(style=_STYLE, script_hash=script_hash))

    def add(self, entry: Entry) -> None:
        """Write a photograph."""
        self._photographs += 1
        self._people += entry.people
        for stage, time in entry.seconds.items():
            self._seconds[stage] += time
        self._write(entry.html)

    def finish(self) -> None:
        """Write what stands after the last photograph."""
        photographs = counted(self._photographs, "photograph", "photographs")
        people = counted(self._people, "person", "people")
        totals = figures([photographs, people, *times(self._seconds), *self._facts])
        self._write(Template(_TAIL).substitute(totals=totals, script=_SCRIPT))

    def _write(self, text: str) -> None:
        self._file.write(text.encode(errors="backslashreplace"))  # a name of a file need not be text
