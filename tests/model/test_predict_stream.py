"""Tests that a prediction reads ahead in bounded memory, and that processes share it."""

import threading
import time
from functools import partial
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
import stopped
from fault_scene import Scene, drawing
from pose2seg.common.images import write_png
from pose2seg.data import posed_images
from pose2seg.data import read_ahead as reading
from pose2seg.data.posed_images import Content, PosedImage, try_to_read
from pose2seg.data.poses import ImagePoses
from pose2seg.data.read_ahead import read_ahead


class Notes:
    """A source of poses that records which images are read."""

    joint_threshold = None
    pose_estimator = None

    def __init__(self, names: str) -> None:
        self.read = {name: Event() for name in names}

    def image_id(self, image: Path) -> str:
        return image.stem

    def find(self, image: Path, *_: object) -> ImagePoses:
        self.read[image.stem].set()
        return ImagePoses(image.stem)


def test_only_the_next_batch_is_read_ahead(tmp_path: Path) -> None:
    notes = Notes("abcdef")
    images = [PosedImage(tmp_path / f"{name}.png", name, notes) for name in "abcdef"]
    for image in images:
        write_png(image.path, drawing())
    batches = read_ahead([images[:2], images[2:4], images[4:]], try_to_read)
    for now, following, later in (("ab", "cd", "ef"), ("cd", "ef", ""), ("ef", "", "")):
        batch = next(batches)
        assert [image.image_id for image, _ in batch] == list(now)
        assert all(isinstance(content, Content) for _, content in batch)
        assert all(notes.read[name].wait(timeout=60) for name in following)
        assert not any(notes.read[name].is_set() for name in later)
    assert next(batches, None) is None


def test_an_unreadable_image_does_not_block_the_others(tmp_path: Path) -> None:
    notes = Notes("ab")
    write_png(tmp_path / "b.png", drawing())
    first, second = next(
        read_ahead([[PosedImage(tmp_path / f"{n}.png", n, notes) for n in "ab"]], try_to_read)
    )
    assert first[1] == f"{tmp_path}/a.png: No such file or directory"
    assert isinstance(second[1], Content)


class PausedNotes(Notes):
    """A source that blocks after the first image until it is released."""

    def __init__(self, names: str) -> None:
        super().__init__(names)
        self.go_on = Event()

    def find(self, image: Path, *_: object) -> ImagePoses:
        if image.stem != "a":
            self.go_on.wait(timeout=60)
        return super().find(image)


def test_unused_images_are_neither_read_nor_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_THREADS", 2)
    monkeypatch.setattr(reading, "_LONGEST_DECODING", 0.1)
    notes, others = PausedNotes("abcdefghij"), set(threading.enumerate())
    images = [PosedImage(tmp_path / f"{name}.png", name, notes) for name in notes.read]
    for image in images:
        write_png(image.path, drawing())
    batches = read_ahead([images[:1], images[1:]], try_to_read)
    next(batches)
    readers = set(threading.enumerate()) - others
    batches.close()
    assert [name for name, event in notes.read.items() if event.is_set()] == ["a"]
    assert all(thread.daemon for thread in readers)  # the process does not wait for them
    notes.go_on.set()
    for thread in readers:
        thread.join(timeout=60)
    assert sum(event.is_set() for event in notes.read.values()) <= 3


def test_images_that_are_being_decoded_are_waited_for() -> None:
    """Python aborts if it exits while one of its threads is in OpenCV."""
    begun, decoded = Event(), Event()

    def decode_slowly(name: str) -> str:
        if name == "b":
            begun.set()
            time.sleep(0.3)
            decoded.set()
        return "no image"

    batches = read_ahead([["a"], ["b"]], decode_slowly)
    next(batches)
    assert begun.wait(timeout=60)
    batches.close()
    assert decoded.is_set()


def test_a_batch_is_released_when_the_next_one_is_requested(tmp_path: Path) -> None:
    notes = Notes("ab")
    batches = read_ahead([[PosedImage(tmp_path / f"{name}.png", name, notes)] for name in "ab"], try_to_read)
    first = next(batches)
    assert len(first) == 1
    next(batches)
    assert first == []


def test_a_lack_of_memory_for_an_image_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(posed_images, "read_image", fail)
    ((_, content),) = next(read_ahead([[PosedImage(tmp_path / "a.png", "a", Notes("a"))]], try_to_read))
    assert content == f"{tmp_path}/a.png: not enough memory to read it"


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
