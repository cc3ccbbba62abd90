"""The journal of a prediction: a folder with the finished part, from which the prediction can resume."""

import json
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pose2seg.common import distributed
from pose2seg.common.errors import InputError
from pose2seg.common.files import append_line, atomic_writer, is_stream, real_path, remove_unfinished
from pose2seg.common.gone import GoneError
from pose2seg.common.lock import LOCK, locked
from pose2seg.common.records import read_json
from pose2seg.common.text import counted, shown
from pose2seg.prediction.settings import require_same

ImageId = int | str

_SETTINGS, _IMAGES, _LINES = "settings.json", "images.json", "*.jsonl"


class Record(NamedTuple):
    """The record of a finished image.

    details: any JSON value.
    results: the results, each encoded as JSON, to be copied into the output.
    """

    image: ImageId
    details: Any
    results: list[bytes]


def journal_folder(output: Path) -> Path:
    """Returns the folder of the journal of a prediction that is written to a file."""
    target = real_path(output)
    return target.with_name(f"{target.name}.unfinished")


@contextmanager
def open_journal(
    output: Path, settings: Mapping[str, Any], images: Collection[ImageId], resume: bool
) -> Iterator["Journal"]:
    """Opens the journal of a prediction. It remains after the block, unless it is empty.

    settings: what the records depend on, as JSON values.
    images: the images to process. A run that resumes must include all images of the earlier run.
    resume: whether to continue an existing journal, which must have the same settings.

    Under torchrun, all processes must see the same folder. The journal for a pipe or a device is in a
    temporary folder, and cannot be resumed.

    Raises InputError if there is a journal and `resume` is False, if the journal has other settings or images
    that are not in `images`, if another prediction is writing to it, or if the folder is not a journal.
    """
    with ExitStack() as stack:
        if not is_stream(output):
            folder = journal_folder(output)
        elif resume:
            raise InputError(f"{output}: must be a file to resume a prediction, got a pipe or a device")
        else:
            temporary = stack.enter_context(tempfile.TemporaryDirectory())
            folder = Path(distributed.gather(temporary)[0], "journal")
        _require_ours(folder)
        stack.enter_context(locked(folder, "another prediction is writing there, to the same output"))
        journal = Journal(folder, settings, images, resume)
        try:
            yield journal
        finally:
            if distributed.rank() == 0 and journal.is_empty():
                journal.remove()


def _require_ours(folder: Path) -> None:
    """Raises InputError if a folder is not that of a journal, which removes its files at the end."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and LOCK not in names and not names.issuperset({_SETTINGS, _IMAGES}):
        raise InputError(f"{folder}: was not made by a prediction: move it away, or choose another output")


class Journal:
    """A folder with the settings, the images to process, and a growing file of lines for each process.

    A line is a record: the image and its details as JSON and, for each result, a tab and the result. A line
    that is damaged, or was cut off by a kill or a full disk, is ignored. Nothing is appended to such a file,
    because a process that resumes writes a new one. If an image was processed twice, the last record is used.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], images: Collection[ImageId], resume: bool
    ) -> None:
        self.folder = folder
        before = len(list(folder.glob(_LINES)))  # the new file must be sorted after these
        self._file = folder / f"{before:08}{secrets.token_hex(4)}.jsonl"
        is_there = (folder / _SETTINGS).exists()
        found = set(self._find_lines(_is_whole)) if is_there else set()
        done = distributed.gather(found)  # all processes must look before the first one writes
        #: The images that were finished when the journal was opened.
        self.finished: set[ImageId] = done[0]
        self._require_shared(all(each == self.finished for each in done))
        if self.finished and not resume:
            raise InputError(f"{folder}: contains a stopped prediction: resume it, or remove the folder")
        if self.finished:
            require_same(folder / _SETTINGS, settings)
            self._require_all(images)
        if distributed.rank() == 0:
            if not self.finished:
                self._clear()  # an earlier run may have stopped before it finished an image
            self._write(_IMAGES, list(images))
            self._write(_SETTINGS, dict(settings))
        distributed.wait_for_all()
        self._require_shared((folder / _SETTINGS).exists())

    def _require_all(self, images: Collection[ImageId]) -> None:
        """Raises InputError if an image of the earlier run is missing, because its masks would be lost."""
        path = self.folder / _IMAGES
        listed = read_json(path) if path.exists() else []
        if not isinstance(listed, list) or not all(type(image) in get_args(ImageId) for image in listed):
            raise InputError(f"{path}: expected the ids of images (a list), got {shown(listed)}")
        absent = self.finished.union(listed).difference(images)
        if absent:
            missing = counted(len(absent), "image of the stopped run is", "images of the stopped run are")
            raise InputError(
                f"{self.folder}: {missing} missing, such as {min(map(str, absent))}: "
                "put back what is missing, or remove the folder"
            )

    def _write(self, name: str, content: Any) -> None:
        with atomic_writer(self.folder / name) as file:
            file.write(json.dumps(content).encode())

    def _require_shared(self, seen: bool) -> None:
        if not all(distributed.gather(seen)):
            raise InputError(f"{self.folder}: must be a folder that all processes share")

    def append(self, batch: Iterable[Record]) -> None:
        """Appends the records of finished images. If it raises OSError, some of them may be missing."""
        append_line(self._file, b"\n".join(map(_encode, batch)))

    def records(self, images: Iterable[ImageId]) -> Iterator[Record]:
        """Yields the records of finished images, in the order of `images`; one at a time is in memory.

        Raises GoneError if records are gone, for example because a file was removed.
        """
        lines, images = self._find_lines(), list(images)
        lost = [image for image in images if image not in lines]
        if lost:
            raise GoneError(
                f"{self.folder}: the records of {counted(len(lost), 'image', 'images')}, such as {lost[0]}, "
                "are gone: resume to process these images again"
            )
        for image in images:
            path, offset = lines[image]
            with path.open("rb") as file:
                file.seek(offset)
                record = _parse(file.readline())
            assert record is not None  # `_find_lines` has just found it
            yield record

    def is_empty(self) -> bool:
        """Returns whether no process has begun to write records."""
        return not any(self.folder.glob(_LINES))

    def remove(self) -> None:
        """Removes the journal. Other files in its folder are kept."""
        self._clear()
        (self.folder / LOCK).unlink(missing_ok=True)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _clear(self) -> None:
        for name in (_SETTINGS, _IMAGES):  # the settings first: without them it is no longer a journal
            (self.folder / name).unlink(missing_ok=True)
        remove_unfinished(self.folder)
        for path in self.folder.glob(_LINES):
            path.unlink()

    def _find_lines(
        self, is_usable: Callable[[Record], bool] = lambda _: True
    ) -> dict[ImageId, tuple[Path, int]]:
        """Returns the file with the record of each finished image, and the offset of its line."""
        found: dict[ImageId, tuple[Path, int]] = {}
        for path in sorted(self.folder.glob(_LINES)):
            offset = 0
            with path.open("rb") as file:
                for line in file:
                    record = _parse(line)
                    if record is not None and is_usable(record):
                        found[record.image] = path, offset
                    offset += len(line)
        return found


def _encode(record: Record) -> bytes:
    return b"\t".join([json.dumps([record.image, record.details]).encode(), *record.results])


def _parse(line: bytes) -> Record | None:
    """Returns the record in a line, without parsing its results, or None if the line is damaged."""
    if not line.endswith(b"\n"):
        return None
    first, *results = line[:-1].split(b"\t")
    try:
        content = json.loads(first)
    except (ValueError, RecursionError):
        return None
    if not (isinstance(content, list) and len(content) == 2 and type(content[0]) in get_args(ImageId)):
        return None
    image, details = content
    return Record(image, details, results)


def _is_whole(record: Record) -> bool:
    """Returns whether the results of a record are JSON objects."""
    try:
        return all(isinstance(json.loads(result), dict) for result in record.results)
    except (ValueError, RecursionError):
        return False
