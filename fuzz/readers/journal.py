"""Fuzzes the reader of the journal of a prediction: a line of settings, then the lines of one of its
files."""

from pathlib import Path

from fuzzing import fuzz, mutate_json
from pose2seg.prediction.journal import ImageId, Journal

_IMAGES: list[ImageId] = [*range(10), "0", "1", "a"]  # the ids in the corpus


def read(path: Path) -> None:
    settings, _, lines = path.read_bytes().partition(b"\n")
    folder = path.with_name("journal")
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_bytes(settings)
    (folder / "0.jsonl").write_bytes(lines)
    journal = Journal(folder, {"threshold": 0.5}, [], resume=True)
    assert len(list(journal.records(journal.finished))) == len(journal.finished)


fuzz(read, "settings and lines", mutate_json)
