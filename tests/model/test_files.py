"""Tests of writing files and of progress bars; reading is tested for each kind of file."""

import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pose2seg import InputError
from pose2seg.common import images, records
from pose2seg.common.files import atomic_writer, remove_unfinished, replacing_together
from pose2seg.common.images import read_image, write_png
from pose2seg.common.records import read_json
from stopped import file_size_limit


def write(path: Path, content: bytes = b"new") -> None:
    with atomic_writer(path) as file:
        file.write(content)


def test_files_are_written_atomically(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with atomic_writer(path) as file:
        file.write(b"old")
        assert not path.exists()
    with pytest.raises(TypeError), atomic_writer(path) as file:
        file.writelines([b"new", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_an_image_that_is_too_wide_for_a_png_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"wide.png: an image of 1000001 x 1 pixels cannot be a PNG"):
        write_png(tmp_path / "wide.png", np.zeros((1, 1_000_001, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("exists", [True, False], ids=["to a file", "dangling"])
def test_symbolic_links_are_followed(tmp_path: Path, exists: bool) -> None:
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    link.symlink_to(Path("folder", "target"))
    target.parent.mkdir()
    if exists:
        target.write_bytes(b"old")
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == [target.parent, link]


@pytest.mark.parametrize("linked", [False, True])
def test_pipes_are_written_to(tmp_path: Path, linked: bool) -> None:
    pipe, path = tmp_path / "pipe", tmp_path / ("link" if linked else "pipe")
    os.mkfifo(pipe)
    if linked:
        path.symlink_to(pipe)
    # Both ends are open, so that the writer cannot block.
    received = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        write(path)
        assert pipe.is_fifo()
        assert os.read(received, 100) == b"new"
    finally:
        os.close(received)


@pytest.mark.parametrize("linked", [False, True])
def test_an_open_file_keeps_its_content(tmp_path: Path, linked: bool) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    path = Path(f"/dev/fd/{descriptor}")
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    os.write(descriptor, b"first ")
    write(path)
    os.write(descriptor, b" last")
    os.close(descriptor)
    assert (tmp_path / "log").read_bytes() == b"first new last"


def test_a_mount_point_that_cannot_be_replaced_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(file: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(file), None, str(target))

    mounted = tmp_path / "mounted"
    mounted.write_bytes(b"older and longer")
    monkeypatch.setattr(Path, "replace", busy)
    write(mounted)
    assert mounted.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [mounted]


PICTURE = np.full((4, 3, 3), 90, np.uint8)


def test_a_pipe_is_read_only_if_it_was_already_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe.png: must be an image file, got a pipe or a device"):
        read_image(tmp_path / "pipe.png")
    reading, writing = os.pipe()
    os.write(writing, cv2.imencode(".png", PICTURE)[1].tobytes())
    os.close(writing)
    np.testing.assert_array_equal(read_image(Path(f"/dev/fd/{reading}")), PICTURE)
    os.close(reading)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    path.touch()
    os.truncate(path, 2**37)
    with pytest.raises(InputError, match=r"must have at most 1,073,741,824 bytes, got 137,438,953,472"):
        read_image(path)


def test_an_image_that_is_too_large_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    write_png(path, PICTURE)
    monkeypatch.setattr(images, "LARGEST_IMAGE", 12)
    np.testing.assert_array_equal(read_image(path), PICTURE)
    monkeypatch.setattr(images, "LARGEST_IMAGE", 11)
    with monkeypatch.context() as patch:
        patch.delattr(cv2, "imdecode")
        with pytest.raises(InputError, match=r"large.png: must have at most 11 pixels, got 12"):
            read_image(path)
    monkeypatch.setattr(images, "declared_pixels", lambda encoded: 0)
    with pytest.raises(InputError, match=r"large.png: must have at most 11 pixels, got 12"):
        read_image(path)


def test_a_lack_of_memory_is_not_a_fault_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        error = cv2.error("Failed to allocate")
        error.code = cv2.Error.StsNoMem
        raise error

    write_png(tmp_path / "image.png", PICTURE)
    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "image.png")


def test_files_with_the_longest_name_can_be_written(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    write(longest)
    assert longest.read_bytes() == b"new"
    longer = longest.with_name(longest.name + "x")
    with pytest.raises(OSError, match="File name too long") as raised:
        write(longer)
    assert raised.value.filename == str(longer)


def test_errors_have_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with pytest.raises(FileNotFoundError) as raised, atomic_writer(path):
        shutil.rmtree(path.parent)
    assert raised.value.filename == str(path)
    other = tmp_path / "other"
    with pytest.raises(FileNotFoundError) as raised, atomic_writer(path):
        other.read_bytes()
    assert raised.value.filename == str(other)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("smallest", "shown"), [(10, True), (10_000_000, False)])
def test_a_large_json_file_shows_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smallest: int, shown: bool
) -> None:
    monkeypatch.setattr(records, "_LARGE_JSON", smallest)
    monkeypatch.setattr(records, "_MANY", smallest)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    content = [{"id": i} for i in range(1000)]
    (tmp_path / "large.json").write_text(json.dumps(content))
    assert read_json(tmp_path / "large.json") == content
    assert len(list(records.records(content, "large.json"))) == 1000
    said = terminal.getvalue()
    assert ("reading large.json: 1000 records" in said) == bool(said) == shown
    assert ("checking large.json: 100%" in said) == shown


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_replaced_file_passes_on_its_permissions(tmp_path: Path, mode: int) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.touch()
    path.chmod(mode)
    link.symlink_to(path)
    for written in (path, link):
        with atomic_writer(written) as file:
            file.write(b"new")
            (unfinished,) = tmp_path.glob(".*")
            assert unfinished.stat().st_mode & 0o777 == mode
        assert path.stat().st_mode & 0o777 == mode
    with replacing_together(tmp_path) as folder:
        write(folder / "file", b"newer")
    assert path.read_bytes() == b"newer"
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the owner of a file")
def test_a_replaced_file_passes_on_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.chown(path, 1234, 2345)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_files_are_replaced_together_or_not_at_all(tmp_path: Path) -> None:
    def replace_all(content: dict[str, bytes]) -> None:
        with replacing_together(tmp_path) as folder:
            for name, text in content.items():
                write(folder / name, text)
            assert {name: (tmp_path / name).read_bytes() for name in old} == old

    old = {"a": b"old", "deep/b": b"old"}
    for name, text in old.items():
        write(tmp_path / name, text)
    with file_size_limit(9), pytest.raises(OSError, match="File too large") as raised:
        replace_all({"a": b"new", "deep/b": b"new" * 9})
    assert raised.value.filename == str(tmp_path / "deep/b")
    assert {name: (tmp_path / name).read_bytes() for name in old} == old
    new = {"a": b"new", "deep/b": b"new", "deeper/c": b"new"}
    replace_all(new)
    assert {name: (tmp_path / name).read_bytes() for name in new} == new
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "deep", "deeper"]


def test_files_left_by_a_kill_are_removed(tmp_path: Path) -> None:
    (tmp_path / ("." + "0a" * 8)).touch()
    (tmp_path / ("." + "1b" * 8) / "worst").mkdir(parents=True)
    (tmp_path / ".hidden").touch()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".hidden"]
