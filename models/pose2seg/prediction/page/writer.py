"""Writing the page, image by image."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import BinaryIO

from pose2seg.common.files import atomic_writer
from pose2seg.common.text import counted
from pose2seg.prediction.page.entry import Entry, figures, times

_FOLDER = Path(__file__).parent
_HEAD, _TAIL = (_FOLDER / "page.html").read_text("utf-8").split("$entries")
_STYLE = (_FOLDER / "style.css").read_text("utf-8")
_SCRIPT = (_FOLDER / "page.js").read_text("utf-8")


@contextmanager
def page_writer(path: Path, unfinished_in: Path | None = None, facts: Sequence[str] = ()) -> Iterator["Page"]:
    """Yields a `Page` that appears at `path`, complete, when the block ends, see `atomic_writer`."""
    with atomic_writer(path, unfinished_in) as file:
        page = Page(file, facts)
        yield page
        page.finish()


class Page:
    """An HTML file that needs no other file and no network, on which masks can be hidden and shown.

    Each image is written when it is added, and not kept in memory. An image of 640 x 480 pixels takes about
    0.1 MB.

    facts: facts about all images, such as what the masks were made with.
    """

    def __init__(self, file: BinaryIO, facts: Sequence[str] = ()) -> None:
        self._file = file
        self._facts = facts
        self._images = 0
        self._people = 0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        # Only this script can run in the page, even if the name of an image contains another.
        script_hash = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
        self._write(Template(_HEAD).substitute(style=_STYLE, script_hash=script_hash))

    def add(self, entry: Entry) -> None:
        """Writes the entry of an image."""
        self._images += 1
        self._people += entry.people
        for stage, time in entry.seconds.items():
            self._seconds[stage] += time
        self._write(entry.html)

    def finish(self) -> None:
        """Writes the end of the page, after the last image."""
        images = counted(self._images, "image", "images")
        people = counted(self._people, "person", "people")
        totals = figures([images, people, *times(self._seconds), *self._facts])
        self._write(Template(_TAIL).substitute(totals=totals, script=_SCRIPT))

    def _write(self, text: str) -> None:
        self._file.write(text.encode(errors="backslashreplace"))  # file names need not be text
