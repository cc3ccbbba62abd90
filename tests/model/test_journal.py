"""Tests of the journal of a prediction; tests/helpers/faults.py stops whole predictions."""

import errno
import fcntl
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from pose2seg import InputError
from pose2seg.common import distributed
from pose2seg.common.gone import GoneError
from pose2seg.prediction.journal import ImageId, Record, journal_folder, open_journal

SETTINGS = {"threshold": 0.5, "checksums": {}}
BATCHES = [
    [Record(1, {"name": "a\tb"}, [b'{"score": 0.1}', b'{"score": 2e-30}']), Record("1", [], [])],
    [Record("größe", {"name": "größe"}, ['{"größe": 1}'.encode()])],
    [Record(2, None, [b"{}"])],
]
IN_ORDER: list[ImageId] = [2, "1", "größe", 1]
BY_IMAGE = {record.image: record for batch in BATCHES for record in batch}
EXPECTED = [BY_IMAGE[image] for image in IN_ORDER]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Returns the output of a prediction that was stopped when all images were finished."""
    output = tmp_path / "deep" / "masks.json"
    with open_journal(output, SETTINGS, IN_ORDER, resume=False) as journal:
        for batch in BATCHES:
            journal.append(batch)
    return output


def test_records_are_in_the_requested_order(output: Path) -> None:
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        assert journal.finished == {1, "1", "größe", 2}
        assert list(journal.records(IN_ORDER)) == EXPECTED
        assert list(journal.records([1])) == EXPECTED[3:]
        journal.remove()
    assert list(output.parent.iterdir()) == []


def test_a_journal_that_is_truncated_anywhere_can_be_resumed(output: Path, tmp_path: Path) -> None:
    folder = journal_folder(output)
    shutil.move(folder, tmp_path / "whole")
    (journal_file,) = (tmp_path / "whole").glob("*.jsonl")
    content = journal_file.read_bytes()
    counts = set()
    for size in range(len(content)):
        shutil.copytree(tmp_path / "whole", folder)
        (folder / journal_file.name).write_bytes(content[:size])
        with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
            whole = content[:size].count(b"\n")
            assert journal.finished == set(list(BY_IMAGE)[:whole])
            journal.append(list(BY_IMAGE.values())[whole:])
            assert list(journal.records(IN_ORDER)) == EXPECTED
            journal.remove()
        counts.add(whole)
    assert counts == {0, 1, 2, 3}


def test_a_journal_is_neither_replaced_nor_mixed_with_other_settings(output: Path) -> None:
    before = {path: path.read_bytes() for path in journal_folder(output).iterdir()}
    with (
        pytest.raises(InputError, match=r"masks.json.unfinished: contains a stopped prediction: resume"),
        open_journal(output, SETTINGS, IN_ORDER, resume=False),
    ):
        pass
    for other, message in (
        ({**SETTINGS, "threshold": 0.25}, r"--threshold has changed from 0.5 to 0.25 since this run began"),
        ({"checksums": {}}, r"--threshold has changed from 0.5 to nothing since"),
        ({**SETTINGS, "checksums": {"poses": 7}}, r"unfinished: the poses have changed since this run began"),
    ):
        with pytest.raises(InputError, match=message), open_journal(output, other, IN_ORDER, resume=True):
            pass
    assert {path: path.read_bytes() for path in journal_folder(output).iterdir()} == before


def test_an_empty_journal_is_ignored(output: Path) -> None:
    (journal_file,) = journal_folder(output).glob("*.jsonl")
    journal_file.write_bytes(b"[1, [")
    with open_journal(output, {"threshold": 0.25}, IN_ORDER, resume=False) as journal:
        assert journal.finished == set()
    assert not journal_folder(output).exists()


@pytest.mark.parametrize(
    "line",
    [b"7", b'{"1": null}', b"[1]", b"[[1], 0]", b"[1.5, 0]", b"[1, 0]\t{", b"[1, 0]\t7", b"[" * 100_000],
)
def test_a_damaged_line_is_ignored(output: Path, line: bytes) -> None:
    (journal_folder(output) / "0.jsonl").write_bytes(line + b"\n")
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        assert journal.finished == {1, "1", "größe", 2}
        assert list(journal.records(IN_ORDER)) == EXPECTED


def test_the_last_record_of_an_image_is_used(output: Path) -> None:
    for again in range(20):
        with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
            journal.append([Record(1, again, []), Record(2, again, [])])
        with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
            assert list(journal.records(IN_ORDER)) == [
                Record(2, again, []),
                *EXPECTED[1:3],
                Record(1, again, []),
            ]


def test_another_folder_is_not_changed(tmp_path: Path) -> None:
    folder = tmp_path / "masks.json.unfinished"
    folder.mkdir()
    content = {folder / "settings.json": "mine", folder / "notes.jsonl": "mine too"}
    for path, text in content.items():
        path.write_text(text)
    for resume in (False, True):
        with (
            pytest.raises(
                InputError, match=r"masks.json.unfinished: was not made by a prediction: move it away"
            ),
            open_journal(tmp_path / "masks.json", SETTINGS, IN_ORDER, resume),
        ):
            pass
    assert {path: path.read_text() for path in folder.iterdir()} == content


def test_a_journal_without_its_lock_file_is_recognised(output: Path) -> None:
    assert not (journal_folder(output) / "lock").exists()
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        assert journal.finished == set(IN_ORDER)
        journal.remove()
    assert list(output.parent.iterdir()) == []


def test_a_resumed_run_needs_all_images_and_may_have_more(output: Path) -> None:
    with open_journal(output, SETTINGS, [*IN_ORDER, "later"], resume=True):
        pass
    fewer: list[tuple[list[ImageId], str]] = [
        (IN_ORDER, "1 image of the stopped run is missing, such as later: put back what"),
        ([2, "later"], "3 images of the stopped run are missing, such as 1: put back what"),
    ]
    for images, message in fewer:
        with pytest.raises(InputError, match=message), open_journal(output, SETTINGS, images, resume=True):
            pass
    with open_journal(output, SETTINGS, [*IN_ORDER, "later", "even later"], resume=True) as journal:
        assert journal.finished == set(IN_ORDER)


@pytest.mark.parametrize("content", ["{}", "[[1]]", "[1.5]", "[true]"])
def test_a_damaged_list_of_images_is_reported(output: Path, content: str) -> None:
    (journal_folder(output) / "images.json").write_text(content)
    with (
        pytest.raises(InputError, match=r"images.json: expected the ids of images \(a list\), got "),
        open_journal(output, SETTINGS, IN_ORDER, resume=True),
    ):
        pass


def test_records_that_are_removed_meanwhile_are_reported(output: Path) -> None:
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        for path in journal.folder.glob("*.jsonl"):
            path.unlink()
        journal.append(BATCHES[1])
        with pytest.raises(GoneError, match=r"the records of 3 images, such as 2, are gone: resume"):
            list(journal.records(IN_ORDER))


def test_damaged_settings_are_reported(output: Path) -> None:
    (journal_folder(output) / "settings.json").write_text("[0.5]")
    message = r"settings.json: expected the settings of a prediction \(an object\), got \[0.5\]"
    with pytest.raises(InputError, match=message), open_journal(output, SETTINGS, IN_ORDER, resume=True):
        pass


def test_processes_that_do_not_share_the_folder_are_reported(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "gather", lambda found: [found, set()])
    with (
        pytest.raises(InputError, match="must be a folder that all processes share"),
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
def test_a_journal_can_be_on_a_file_system_without_locks(
    output: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        assert list(journal.records(IN_ORDER)) == EXPECTED


def test_a_forked_worker_does_not_keep_the_lock(output: Path) -> None:
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


def test_a_folder_that_other_processes_do_not_see_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "masks.json"
    settings = journal_folder(output) / "settings.json"
    monkeypatch.setattr(
        distributed, "gather", lambda seen: [seen, False if settings.exists() and seen is True else seen]
    )
    with (
        pytest.raises(InputError, match="must be a folder that all processes share"),
        open_journal(output, SETTINGS, IN_ORDER, False),
    ):
        pass


def test_other_files_in_the_folder_are_kept(output: Path) -> None:
    other = journal_folder(output) / "notes.txt"
    other.write_text("mine")
    with open_journal(output, SETTINGS, IN_ORDER, resume=True) as journal:
        journal.remove()
    assert list(journal_folder(output).iterdir()) == [other]


def test_a_pipe_has_no_journal_next_to_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open_journal(pipe, SETTINGS, IN_ORDER, resume=False) as journal:
        for batch in BATCHES:
            journal.append(batch)
        assert list(tmp_path.iterdir()) == [pipe]
        assert list(journal.records(IN_ORDER)) == EXPECTED
    assert not journal.folder.exists()
    with (
        pytest.raises(
            InputError, match=r"pipe: must be a file to resume a prediction, got a pipe or a device"
        ),
        open_journal(pipe, SETTINGS, IN_ORDER, resume=True),
    ):
        pass
