"""A prediction reads ahead, in bounded memory, and processes share it."""

import threading
import time
from functools import partial
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pose2seg.photographs
import pytest
import stopped
from fault_scene import Scene, drawing
from pose2seg.files import write_png
from pose2seg.photographs import Content, Photograph, read_ahead
from pose2seg.poses import ImagePoses


class Notes:
    """A source of poses that notes which images are read."""

    joint_threshold = None

    def __init__(self, names: str) -> None:
        self.read = {name: Event() for name in names}

    def image_id(self, image: Path) -> str:
        return image.stem

    def find(self, image: Path) -> ImagePoses:
        self.read[image.stem].set()
        return ImagePoses(image.stem)


def test_the_next_batch_is_read_while_one_is_used_and_no_more(tmp_path: Path) -> None:
    notes = Notes("abcdef")
    photographs = [Photograph(tmp_path / f"{name}.png", name, notes) for name in "abcdef"]
    for photograph in photographs:
        write_png(photograph.path, drawing())
    batches = read_ahead([photographs[:2], photographs[2:4], photographs[4:]])
    for now, following, later in (("ab", "cd", "ef"), ("cd", "ef", ""), ("ef", "", "")):
        batch = next(batches)
        assert [photograph.image_id for photograph, _ in batch] == list(now)
        assert all(isinstance(content, Content) for _, content in batch)
        assert all(notes.read[name].wait(timeout=60) for name in following)
        assert not any(notes.read[name].is_set() for name in later)
    assert next(batches, None) is None


def test_an_image_that_cannot_be_read_does_not_keep_the_others_back(tmp_path: Path) -> None:
    notes = Notes("ab")
    write_png(tmp_path / "b.png", drawing())
    first, second = next(read_ahead([[Photograph(tmp_path / f"{n}.png", n, notes) for n in "ab"]]))
    assert first[1] == f"{tmp_path}/a.png: No such file or directory"
    assert isinstance(second[1], Content)


class PausedNotes(Notes):
    """One that reads the first image only, until it may go on."""

    def __init__(self, names: str) -> None:
        super().__init__(names)
        self.go_on = Event()

    def find(self, image: Path) -> ImagePoses:
        if image.stem != "a":
            self.go_on.wait(timeout=60)
        return super().find(image)


def test_what_nobody_is_going_to_use_is_neither_read_nor_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pose2seg.photographs, "_THREADS", 2)
    monkeypatch.setattr(pose2seg.photographs, "_LONGEST_DECODING", 0.1)
    notes, others = PausedNotes("abcdefghij"), set(threading.enumerate())
    photographs = [Photograph(tmp_path / f"{name}.png", name, notes) for name in notes.read]
    for photograph in photographs:
        write_png(photograph.path, drawing())
    batches = read_ahead([photographs[:1], photographs[1:]])
    next(batches)
    readers = set(threading.enumerate()) - others
    batches.close()
    assert [name for name, event in notes.read.items() if event.is_set()] == ["a"]
    assert all(thread.daemon for thread in readers)  # the process ends without them
    notes.go_on.set()
    for thread in readers:
        thread.join(timeout=60)
    assert sum(event.is_set() for event in notes.read.values()) <= 3


def test_what_is_being_decoded_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python aborts where it ends while a thread of its own is within OpenCV."""
    begun, decoded = Event(), Event()

    def decode_slowly(photograph: Photograph) -> str:
        if photograph.image_id == "b":
            begun.set()
            time.sleep(0.3)
            decoded.set()
        return "no image"

    monkeypatch.setattr(pose2seg.photographs, "_try_to_read", decode_slowly)
    batches = read_ahead([[Photograph(tmp_path / name, name, Notes(""))] for name in "ab"])
    next(batches)
    assert begun.wait(timeout=60)
    batches.close()
    assert decoded.is_set()


def test_a_batch_is_forgotten_when_the_next_one_is_asked_for(tmp_path: Path) -> None:
    notes = Notes("ab")
    batches = read_ahead([[Photograph(tmp_path / f"{name}.png", name, notes)] for name in "ab"])
    first = next(batches)
    assert len(first) == 1
    next(batches)
    assert first == []


def test_an_image_for_which_memory_is_too_small_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(pose2seg.photographs, "read_image", fail)
    ((_, content),) = next(read_ahead([[Photograph(tmp_path / "a.png", "a", Notes("a"))]]))
    assert content == f"{tmp_path}/a.png: there is not enough memory to read it"


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    side, peaks = 1600, []
    encoded = cv2.imencode(".jpg", np.full((side, side, 3), 90, np.uint8))[1].tobytes()
    for images in (6, 24):
        (tmp_path / str(images)).mkdir()
        scene = Scene(tmp_path / str(images))
        for i in range(images):
            scene.add(f"{i}.jpg", encoded)
        peaks.append(stopped.peak_memory(scene.arguments(), scene.folder / "said"))
    megabytes_of_images = 18 * 3 * side**2 / 2**20
    assert peaks[1] - peaks[0] < 0.2 * megabytes_of_images


@pytest.mark.usefixtures("one_thread")
def test_two_processes_write_the_file_of_one(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for i in range(7):
        scene.add(f"image{i}.png", drawing(40 + i, 30))
    (scene.images / "image3.png").write_bytes(b"damaged")
    report = "--report", str(scene.page)
    code, alone = scene.predict("--overlays", str(tmp_path / "alone"), *report)
    assert code == 3
    expected = scene.results()
    assert list(expected) == ["masks.json", "page.html"]
    scene.output.unlink()
    scene.page.unlink()
    words = scene.arguments("--overlays", str(tmp_path / "shared"), *report)
    port, reads = stopped.free_port(), [tmp_path / f"reads{rank}" for rank in range(2)]
    prepare = [partial(stopped.one_of_two, rank, port, reads[rank]) for rank in range(2)]
    processes = [stopped.start(words, tmp_path / "said", each) for each in prepare]
    for process in processes:
        process.join()
    said = (tmp_path / "said").read_text()
    assert [process.exitcode for process in processes] == [3, 3], said
    assert scene.shortened(said) == alone
    assert scene.results() == expected
    shares = [path.read_text().splitlines() for path in reads]
    assert sorted(shares[0] + shares[1]) == sorted(path.name for path in scene.images.iterdir())
    assert sorted(map(len, shares)) == [3, 4]
    pictures = [
        {path.name: path.read_bytes() for path in (tmp_path / of).iterdir()} for of in ("alone", "shared")
    ]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 6
