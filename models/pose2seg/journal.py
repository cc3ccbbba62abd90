"""What a prediction has finished, so that nothing of it is done twice after a stop."""

import json
import secrets
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

from pose2seg import distributed
from pose2seg.counts import counted
from pose2seg.errors import InputError
from pose2seg.files import (
    append_line,
    atomic_writer,
    is_stream,
    read_json,
    real_path,
    remove_unfinished,
    shown,
)
from pose2seg.gone import GoneError
from pose2seg.lock import LOCK, locked

ImageId = int | str

_SETTINGS, _IMAGES, _LINES = "settings.json", "images.json", "*.jsonl"


def journal_folder(output: Path) -> Path:
    """Where the journal of a prediction is that is written to a file."""
    target = real_path(output)
    return target.with_name(f"{target.name}.unfinished")


@contextmanager
def open_journal(
    output: Path, settings: Mapping[str, Any], images: Collection[ImageId], resume: bool
) -> Iterator["Journal"]:
    """The journal of a prediction, which is still there when it is left, unless nothing was done.

    settings: what the records depend on, for JSON.
    images: what is to be done; whoever goes on has to have them all, and may have more.
    resume: whether to go on with a journal that is there, if it is of the same settings.

    Without torchrun, or in a `distributed.joined` block, where all processes have to see the same folder.
    The journal for a pipe or a device is in a temporary folder, and cannot be resumed.

    Raises InputError if there is a journal and `resume` is not given, or one of other settings or of images
    that are not among these, or one that another prediction is writing; or if the folder is not a journal's.
    """
    with ExitStack() as stack:
        if not is_stream(output):
            folder = journal_folder(output)
        elif resume:
            raise InputError(f"{output}: is not a file; what was written to it cannot be resumed")
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
    """Raises InputError for a folder of somebody else, whose files the journal would remove in the end."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and LOCK not in names and not names.issuperset({_SETTINGS, _IMAGES}):
        raise InputError(f"{folder}: is not of a prediction: move it away, or write to another output")


class Journal:
    """A folder with the settings, the images that are to be done, and a file for each process, that grows by
    a line when a batch is done.

    A line is [[image id, record], ...]. One that is cut off, by a kill or a full disk, or otherwise damaged
    does not count, and nothing is appended to it: a process that goes on has a file of its own. Of an image
    that was done again, what was done last counts.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], images: Collection[ImageId], resume: bool
    ) -> None:
        self.folder = folder
        before = len(list(folder.glob(_LINES)))  # so that its file comes after these
        self._file = folder / f"{before:08}{secrets.token_hex(4)}.jsonl"
        is_there = (folder / _SETTINGS).exists()
        found = set(self._find_lines()) if is_there else set()
        done = distributed.gather(found)  # by all, before the first one writes
        #: The images that were done when the journal was opened.
        self.finished: set[ImageId] = done[0]
        self._require_shared(all(each == self.finished for each in done))
        if self.finished and not resume:
            raise InputError(f"{folder} holds a prediction that was stopped: resume it, or remove the folder")
        if self.finished:
            _require_same(folder / _SETTINGS, settings)
            self._require_all(images)
        if distributed.rank() == 0:
            if not self.finished:
                self._clear()  # what was stopped before anything was done
            self._write(_IMAGES, list(images))
            self._write(_SETTINGS, dict(settings))
        distributed.wait_for_all()
        self._require_shared((folder / _SETTINGS).exists())

    def _require_all(self, images: Collection[ImageId]) -> None:
        """Raise InputError if an image is not among these that was done or was to be: it would be lost."""
        path = self.folder / _IMAGES
        listed = read_json(path) if path.exists() else []
        if not isinstance(listed, list) or not all(type(image) in get_args(ImageId) for image in listed):
            raise InputError(f"{path}: expected the ids of images (a list), got {shown(listed)}")
        absent = self.finished.union(listed).difference(images)
        if absent:
            missing = counted(len(absent), "image", "images")
            raise InputError(
                f"{self.folder}: is of a prediction with {missing} not among the photographs, such as "
                f"{min(map(str, absent))}: put back what is gone, or remove the folder"
            )

    def _write(self, name: str, content: Any) -> None:
        with atomic_writer(self.folder / name) as file:
            file.write(json.dumps(content).encode())

    def _require_shared(self, seen: bool) -> None:
        if not all(distributed.gather(seen)):
            raise InputError(f"{self.folder}: not all processes see it: they need a folder that they share")

    def append(self, batch: Iterable[tuple[ImageId, Any]]) -> None:
        """Note that images are done, each with a record for JSON. Raises OSError; then none of them is."""
        append_line(self._file, json.dumps(list(batch)).encode())

    def records(self, images: Iterable[ImageId]) -> Iterator[Any]:
        """The records of images that are done, by whichever process, in this order; read one at a time.

        Raises GoneError for those that are not there any more, as when somebody removed a file.
        """
        lines, images = self._find_lines(), list(images)
        lost = [image for image in images if image not in lines]
        if lost:
            raise GoneError(
                f"{self.folder}: what was noted there of {counted(len(lost), 'image', 'images')}, such as "
                f"{lost[0]}, is gone: resume, which does again what is missing"
            )
        last, batch = None, {}
        for image in images:
            if lines[image] != last:
                last = path, offset = lines[image]
                batch = dict(next(_read_lines(path, offset))[1])
            yield batch[image]

    def is_empty(self) -> bool:
        """Whether no process has begun a line."""
        return not any(self.folder.glob(_LINES))

    def remove(self) -> None:
        """Forget everything. What else is in the folder stays there."""
        self._clear()
        (self.folder / LOCK).unlink(missing_ok=True)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _clear(self) -> None:
        for name in (_SETTINGS, _IMAGES):  # without the first of which there is no journal
            (self.folder / name).unlink(missing_ok=True)
        remove_unfinished(self.folder)
        for path in self.folder.glob(_LINES):
            path.unlink()

    def _find_lines(self) -> dict[ImageId, tuple[Path, int]]:
        """The file that each image that is done is in, and where its line begins."""
        return {
            image: (path, offset)
            for path in sorted(self.folder.glob(_LINES))
            for offset, batch in _read_lines(path)
            for image, _ in batch
        }


def _read_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, list[tuple[ImageId, Any]]]]:
    """The lines that are whole, from an offset on, and where each begins."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            begin, offset = offset, offset + len(line)
            try:
                batch = json.loads(line)
            except (ValueError, RecursionError):  # it is cut off
                continue
            if _is_batch(batch):
                yield begin, batch


def _is_batch(batch: Any) -> bool:
    return isinstance(batch, list) and all(
        isinstance(done, list) and len(done) == 2 and type(done[0]) in get_args(ImageId) for done in batch
    )


def _require_same(path: Path, settings: Mapping[str, Any]) -> None:
    saved = read_json(path)
    if not isinstance(saved, dict):
        raise InputError(f"{path}: expected the settings of a prediction (an object), got {shown(saved)}")
    for name in {**saved, **settings}:
        if saved.get(name) != settings.get(name):
            raise InputError(
                f"{path.parent}: is of a prediction with {name} {saved.get(name)}, not {settings.get(name)}"
            )
