"""What a prediction has finished outlives whatever stops it; tests/faults.py stops whole predictions."""

import errno
import fcntl
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from pose2seg import InputError, distributed
from pose2seg.gone import GoneError
from pose2seg.journal import ImageId, journal_folder, open_journal

SETTINGS = {"threshold": 0.5}
BATCHES: list[list[tuple[ImageId, Any]]] = [
    [(1, [{"score": 0.1}, {"score": 2e-30}]), ("1", [])],
    [("größe", {"name": "größe"})],
    [(2, None)],
]
IN_ORDER: list[ImageId] = [2, "1", "größe", 1]
EXPECTED = [None, [], {"name": "größe"}, BATCHES[0][0][1]]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where the results of a prediction are going to be that was stopped when all was done."""
    output = tmp_path / "deep" / "masks.json"
    with open_journal(output, SETTINGS, IN_ORDER, resume=False) as journal:
        for batch in BATCHES:
            journal.append(batch)
    return output


def test_records_are_in_the_order_that_is_asked_for(output: Path) -> None:
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        assert journal.finished == {1, "1", "größe", 2}
        assert list(journal.records(IN_ORDER)) == EXPECTED
        assert list(journal.records([1])) == EXPECTED[3:]
        journal.remove()
    assert list(output.parent.iterdir()) == []


def test_a_journal_that_is_cut_off_anywhere_is_gone_on_with(output: Path, tmp_path: Path) -> None:
    folder = journal_folder(output)
    shutil.move(folder, tmp_path / "whole")
    (journal_file,) = (tmp_path / "whole").glob("*.jsonl")
    content = journal_file.read_bytes()
    counts = set()
    for size in range(len(content)):
        shutil.copytree(tmp_path / "whole", folder)
        (folder / journal_file.name).write_bytes(content[:size])
        with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
            whole = [
                json.loads(line) for line in content[: size + 1].splitlines(keepends=True) if b"\n" in line
            ]
            assert journal.finished == {image for batch in whole for image, _ in batch}
            for batch in BATCHES[len(whole) :]:
                journal.append(batch)
            assert list(journal.records(IN_ORDER)) == EXPECTED
            journal.remove()
        counts.add(len(whole))
    assert counts == {0, 1, 2, 3}


def test_a_journal_is_neither_replaced_nor_mixed_with_other_settings(output: Path) -> None:
    before = {path: path.read_bytes() for path in journal_folder(output).iterdir()}
    with (
        pytest.raises(InputError, match=r"masks.json.unfinished holds a prediction that was stopped: resume"),
        open_journal(output, SETTINGS, IN_ORDER, resume=False),
    ):
        pass
    for other, message in (
        ({"threshold": 0.25}, r"is of a prediction with threshold 0.5, not 0.25"),
        ({}, r"is of a prediction with threshold 0.5, not None"),
        ({**SETTINGS, "a checksum of poses": 7}, r"with a checksum of poses None, not 7"),
    ):
        with pytest.raises(InputError, match=message), open_journal(output, other, IN_ORDER, resume=True):
            pass
    assert {path: path.read_bytes() for path in journal_folder(output).iterdir()} == before


def test_a_journal_in_which_nothing_is_done_is_no_hindrance(output: Path) -> None:
    (journal_file,) = journal_folder(output).glob("*.jsonl")
    journal_file.write_bytes(b"[[1, [")
    with open_journal(output, {"threshold": 0.25}, IN_ORDER, resume=False) as journal:
        assert journal.finished == set()
    assert not journal_folder(output).exists()


@pytest.mark.parametrize(
    "line", [b"7", b'{"1": null}', b"[[1]]", b"[[[1], null]]", b"[[1.5, null]]", b"[7]", b"[" * 100_000]
)
def test_a_damaged_line_is_as_one_that_is_not_there(output: Path, line: bytes) -> None:
    (journal_folder(output) / "0.jsonl").write_bytes(line + b"\n")
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        assert journal.finished == {1, "1", "größe", 2}
        assert list(journal.records(IN_ORDER)) == EXPECTED


def test_what_was_done_last_counts(output: Path) -> None:
    for again in range(20):
        with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
            journal.append([(1, again), (2, again)])
        with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
            assert list(journal.records(IN_ORDER)) == [again, *EXPECTED[1:3], again]


def test_a_folder_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "masks.json.unfinished"
    folder.mkdir()
    content = {folder / "settings.json": "mine", folder / "notes.jsonl": "mine too"}
    for path, text in content.items():
        path.write_text(text)
    for resume in (False, True):
        with (
            pytest.raises(InputError, match=r"masks.json.unfinished: is not of a prediction: move it away"),
            open_journal(tmp_path / "masks.json", SETTINGS, IN_ORDER, resume),
        ):
            pass
    assert {path: path.read_text() for path in folder.iterdir()} == content


def test_a_journal_without_its_lock_file_is_still_ours(output: Path) -> None:
    assert not (journal_folder(output) / "lock").exists()
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        assert journal.finished == set(IN_ORDER)
        journal.remove()
    assert list(output.parent.iterdir()) == []


def test_whoever_goes_on_has_all_images_and_may_have_more(output: Path) -> None:
    with open_journal(output, SETTINGS, [*IN_ORDER, "later"], resume=True):
        pass
    fewer: list[tuple[list[ImageId], str]] = [
        (IN_ORDER, "with 1 image not among the photographs, such as later: put back what is gone"),
        ([2, "later"], "with 3 images not among the photographs, such as 1: put back what is gone"),
    ]
    for images, message in fewer:
        with pytest.raises(InputError, match=message), open_journal(output, SETTINGS, images, resume=True):
            pass
    with open_journal(output, SETTINGS, [*IN_ORDER, "later", "even later"], resume=True) as journal:
        assert journal.finished == set(IN_ORDER)


@pytest.mark.parametrize("content", ["{}", "[[1]]", "[1.5]", "[true]"])
def test_a_damaged_list_of_images_is_told(output: Path, content: str) -> None:
    (journal_folder(output) / "images.json").write_text(content)
    with (
        pytest.raises(InputError, match=r"images.json: expected the ids of images \(a list\), got "),
        open_journal(output, SETTINGS, IN_ORDER, resume=True),
    ):
        pass


def test_notes_that_are_removed_meanwhile_are_missed(output: Path) -> None:
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        for path in journal.folder.glob("*.jsonl"):
            path.unlink()
        journal.append(BATCHES[1])
        with pytest.raises(GoneError, match=r"what was noted there of 3 images, such as 2, is gone: resume"):
            list(journal.records(IN_ORDER))


def test_damaged_settings_are_told(output: Path) -> None:
    (journal_folder(output) / "settings.json").write_text("[0.5]")
    message = r"settings.json: expected the settings of a prediction \(an object\), got \[0.5\]"
    with pytest.raises(InputError, match=message), open_journal(output, SETTINGS, IN_ORDER, resume=True):
        pass


def test_processes_that_do_not_share_the_folder_are_told(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "gather", lambda found: [found, set()])
    with (
        pytest.raises(InputError, match="not all processes see it"),
        open_journal(output, SETTINGS, IN_ORDER, True),
    ):
        pass


def test_two_predictions_at_once_do_not_share_a_journal(output: Path) -> None:
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        with (
            pytest.raises(InputError, match=r"masks.json.unfinished: another prediction is writing there"),
            open_journal(output, SETTINGS, IN_ORDER, resume=True),
        ):
            pass
        assert list(journal.records(IN_ORDER)) == EXPECTED


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_takes_a_journal(
    output: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        assert list(journal.records(IN_ORDER)) == EXPECTED


def test_a_forked_worker_does_not_keep_the_journal(output: Path) -> None:
    ready, begun = os.pipe()
    with open_journal(output, SETTINGS, IN_ORDER, resume=True):
        worker = os.fork()
        if worker == 0:
            os.write(begun, b"!")
            signal.pause()
    try:
        assert os.read(ready, 1) == b"!"
        with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
            assert journal.finished
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_a_folder_is_not_seen_by_processes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "masks.json"
    settings = journal_folder(output) / "settings.json"
    monkeypatch.setattr(
        distributed, "gather", lambda seen: [seen, False if settings.exists() and seen is True else seen]
    )
    with (
        pytest.raises(InputError, match="not all processes see it"),
        open_journal(output, SETTINGS, IN_ORDER, False),
    ):
        pass


def test_what_else_is_in_the_folder_stays_there(output: Path) -> None:
    other = journal_folder(output) / "notes.txt"
    other.write_text("mine")
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        journal.remove()
    assert list(journal_folder(output).iterdir()) == [other]


def test_a_pipe_has_no_journal_beside_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open_journal(pipe, SETTINGS, IN_ORDER, resume=False) as journal:
        for batch in BATCHES:
            journal.append(batch)
        assert list(tmp_path.iterdir()) == [pipe]
        assert list(journal.records(IN_ORDER)) == EXPECTED
    assert not journal.folder.exists()
    with (
        pytest.raises(InputError, match=r"pipe: is not a file; what was written to it cannot be resumed"),
        open_journal(pipe, SETTINGS, IN_ORDER, resume=True),
    ):
        pass
