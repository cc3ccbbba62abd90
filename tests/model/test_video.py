"""Tests of predicting the frames of a video."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from image_folder import pose
from pose2seg import InputError, Pose2Seg
from pose2seg.commands import cli
from pose2seg.common.gone import GoneError
from pose2seg.common.remarks import DatasetWarning
from pose2seg.data.posed_images import find_images
from pose2seg.data.poses import open_poses, read_poses
from pose2seg.data.video import VideoFile
from pose2seg.data.video_frames import find_frames
from pose2seg.prediction.drawing import person_colour
from pose2seg.prediction.outputs import IndexedMasks, Overlays, Video
from pose2seg.prediction.predict import Prediction, predict_to_file
from small_model import small_model
from videos import TICK, make_video

av = pytest.importorskip("av", reason="videos need PyAV")

UNEVEN = (0, 20, 40, 90, 100, 160, 180, 220, 300, 320, 340, 360)


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    torch.manual_seed(0)
    return small_model(torch.ones(1, 17, 3)).eval()


def write_poses(path: Path, frames: Any = range(12)) -> None:
    """Writes two people, with tracks 7 and 8, whose order in the file alternates between frames."""
    people = [(pose(10, 10), 7), (pose(30, 20), 8)]
    results = [
        {"image_id": i, "keypoints": keypoints, "score": 0.5, "track_id": track}
        for i in frames
        for keypoints, track in people[:: 1 if i % 2 else -1]
    ]
    path.write_text(json.dumps(results))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_video(tmp_path / "clip.mp4", UNEVEN)
    write_poses(tmp_path / "poses.json")
    return tmp_path


def frames_of(folder: Path, chosen: range | None = None) -> list[Any]:
    return find_frames(VideoFile(folder / "clip.mp4"), read_poses(folder / "poses.json"), chosen)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_frames_equal_those_of_opencv(tmp_path: Path, rotation: int, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    make_video(path, UNEVEN, rotation=rotation)
    video, capture = VideoFile(path), cv2.VideoCapture(str(path))
    assert len(video) == len(UNEVEN)
    assert [time * video.time_base for time in video.times] == [time * TICK for time in UNEVEN]
    for i in range(len(video)):
        done, expected = capture.read()
        assert done
        actual = video.read(i)
        assert actual.shape == ((48, 64, 3) if rotation in (0, 180) else (64, 48, 3))
        assert np.abs(actual.astype(int) - expected).max() <= 2  # roundings of colours
    assert not capture.read()[0]


def test_frames_can_be_read_in_any_order_by_many_threads(tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", range(0, 1200, 20))
    video = VideoFile(tmp_path / "clip.mp4")
    expected = [video.read(i) for i in range(60)]
    numbers = [*range(59, -1, -7), *np.random.default_rng(0).permutation(60).tolist(), *range(60)]
    with ThreadPoolExecutor(8) as threads:
        for number, frame in zip(numbers, threads.map(video.read, numbers), strict=True):
            np.testing.assert_array_equal(frame, expected[number])
    assert len(video._decoded) <= 16


def test_skipped_frames_are_not_kept(tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", range(0, 2000, 20))
    video = VideoFile(tmp_path / "clip.mp4")
    video.read(99)
    assert len(video._decoded) <= 16


@contextmanager
def warned(message: str) -> Iterator[None]:
    with pytest.warns(DatasetWarning, match=message) as caught:
        yield
    assert len([each for each in caught if each.category is DatasetWarning]) == 1


@pytest.mark.parametrize(
    ("suffix", "message"), [(".mp4", r"\d+ of 300 frames can be read$"), (".mkv", r"\d+ frames can be read$")]
)
def test_the_remaining_frames_of_a_truncated_video_are_used(
    tmp_path: Path, suffix: str, message: str
) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    make_video(whole, range(0, 6000, 20), index_first=suffix == ".mp4")
    expected = VideoFile(whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    with warned(rf"cut{suffix}: is truncated or damaged; {message}"):
        video = VideoFile(cut)
    assert 100 <= len(video) <= 200
    for i in (0, 1, len(video) - 1):
        assert video.times[i] == expected.times[i]
        np.testing.assert_array_equal(video.read(i), expected.read(i))


def test_frames_after_a_damaged_one_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    make_video(path, range(0, 6000, 20))
    expected = [VideoFile(path).read(i) for i in range(300)]
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content = path.read_bytes()
    lost = len(packets) // 2
    assert content.count(packets[lost]) == 1
    path.write_bytes(content.replace(packets[lost], bytes([255]) * len(packets[lost])))
    video, unread = VideoFile(path), 0
    assert len(video) == 300
    for i in range(300):
        try:
            frame = video.read(i)
        except InputError:
            unread += 1
            continue
        square = np.abs(frame[16:32].astype(int) - expected[i][16:32]).mean()
        assert square < 30 or i > lost  # a damaged frame may be decoded to damaged pixels
    assert unread < 150


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a video that PyAV can read: "), (b"text" * 99, "not a video that PyAV can read: ")],
)
def test_files_that_are_not_videos_are_reported(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(InputError, match=message):
        VideoFile(tmp_path / "clip.mp4")


def test_a_video_without_its_index_cannot_be_read(folder: Path) -> None:
    content = (folder / "clip.mp4").read_bytes()
    (folder / "clip.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"clip.mp4: not a video that PyAV can read: "):
        VideoFile(folder / "clip.mp4")


def test_without_pyav_the_message_says_how_to_install_it(folder: Path) -> None:
    with (
        mock.patch.dict(sys.modules, {"av": None}),
        pytest.raises(InputError, match=r"PyAV cannot be imported .*pip install 'pose2seg_ops\[video\]'$"),
    ):
        VideoFile(folder / "clip.mp4")


@pytest.mark.parametrize("batch_size", [1, 4])
def test_masks_of_frames_equal_masks_of_images(model: Pose2Seg, folder: Path, batch_size: int) -> None:
    (folder / "frames").mkdir()
    video = VideoFile(folder / "clip.mp4")
    for i in range(len(video)):
        cv2.imwrite(str(folder / "frames" / f"{i:03}.png"), video.read(i))
    images, _ = find_images([folder / "frames"], read_poses(folder / "poses.json"))
    predict_to_file(model, images, folder / "images.json", batch_size=batch_size)
    predicted = predict_to_file(model, frames_of(folder), folder / "video.json", batch_size=batch_size)
    assert predicted == Prediction(masks=24, images=12, left_out=0, done_before=0)
    assert (folder / "video.json").read_bytes() == (folder / "images.json").read_bytes()
    results = json.loads((folder / "video.json").read_text())
    assert [(each["image_id"], each["track_id"]) for each in results[:4]] == [(0, 8), (0, 7), (1, 7), (1, 8)]


def test_only_the_chosen_frames_are_predicted(folder: Path) -> None:
    assert [each.image_id for each in frames_of(folder, range(3, 6))] == [3, 4, 5]
    assert [each.image_id for each in frames_of(folder, range(10, 99))] == [10, 11]
    with pytest.raises(InputError, match=r"clip.mp4: has 12 frames, none of which was chosen$"):
        frames_of(folder, range(12, 99))


def test_a_frame_without_poses_has_no_people(folder: Path) -> None:
    write_poses(folder / "poses.json", [2, 5])
    frames = frames_of(folder)
    assert len(frames) == 12
    people = [each.source.find(each.path, (48, 64), each.read()).people for each in frames]
    assert [i for i, each in enumerate(people) if each] == [2, 5]
    write_poses(folder / "poses.json", [12])
    with pytest.raises(InputError, match=r"clip.mp4: the poses list none of the frames; they list '12'$"):
        frames_of(folder)


def test_poses_are_found_by_the_names_that_tools_give_to_frames(folder: Path) -> None:
    keypoints = [10, 10, 1] * 25
    openpose = folder / "openpose"
    openpose.mkdir()
    for i in (0, 3):
        text = json.dumps({"people": [{"pose_keypoints_2d": keypoints}]})
        (openpose / f"clip_{i:012}_keypoints.json").write_text(text)
    yolo = folder / "yolo"
    yolo.mkdir()
    for i in (1, 4):  # Ultralytics counts from 1
        (yolo / f"clip_{i}.txt").write_text(" ".join(["0", "0.5"] + ["0.5"] * 3 + ["0.5", "0.5", "2"] * 17))
    files = [openpose, yolo]
    for name in ("{}.jpg", "{:06}.jpg", "frame_{:06}.PNG", "{:06}.png"):
        files.append(folder / f"{len(files)}.json")
        images = [{"id": 90 + i, "file_name": name.format(i)} for i in (0, 3)]
        people = [{"id": i, "image_id": 90 + i, "keypoints": pose(9, 9)} for i in (0, 3)]
        files[-1].write_text(json.dumps({"images": images, "annotations": people}))
    for file in files:
        frames = find_frames(VideoFile(folder / "clip.mp4"), open_poses(file))
        found: list[Any] = [each.source.find(each.path, (48, 64), each.read()) for each in frames]
        assert [each.image_id for each in found if each.people] == [0, 3], file
        assert [each.image_id for each in found] == list(range(12))


def colours_of(image: np.ndarray) -> list[tuple[int, ...]]:
    """Returns the colours of the people in an indexed mask, from left to right."""
    found = [tuple(colour) for colour in image.reshape(-1, 3).tolist()]
    return list(dict.fromkeys(colour for colour in found if colour != (0, 0, 0)))


def test_the_written_video_has_the_times_of_the_original(model: Pose2Seg, folder: Path) -> None:
    video = VideoFile(folder / "clip.mp4")
    beside: list[Any] = [Overlays(folder / "overlays"), Video(folder / "out.mp4", video)]
    predict_to_file(model, frames_of(folder), folder / "masks.json", beside=beside)
    drawn = VideoFile(folder / "out.mp4")
    assert [time * drawn.time_base for time in drawn.times] == [time * TICK for time in UNEVEN]
    for i in range(12):
        overlay = cv2.imread(str(folder / "overlays" / f"clip_{i:06}.png"))
        assert overlay is not None
        frame = drawn.read(i)
        assert frame.shape == overlay.shape
        assert np.abs(frame.astype(int) - overlay).mean() < 12  # lossy, and with half the colours
        assert np.abs(frame.astype(int) - overlay).mean() < np.abs(frame.astype(int) - video.read(i)).mean()


@pytest.mark.parametrize("kind", [Overlays, IndexedMasks])
def test_a_track_keeps_its_colour(model: Pose2Seg, folder: Path, kind: Any) -> None:
    predict_to_file(model, frames_of(folder), folder / "masks.json", beside=[kind(folder / "x")])
    for i in range(12):
        image = cv2.imread(str(folder / "x" / f"clip_{i:06}.png"))
        assert image is not None
        for track, (x, y) in ((7, (10, 10)), (8, (30, 20))):
            near = image[y : y + 5, x : x + 4].reshape(-1, 3).astype(int)
            distances = [np.abs(near - person_colour(number)).sum(axis=1).min() for number in range(8)]
            assert kind is not Overlays or int(np.argmin(distances)) == track % 8


def test_a_video_of_odd_sides_can_be_drawn(model: Pose2Seg, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 47, 63, "yuv420p"
        for i in range(3):
            image = np.full((47, 63, 3), 40 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    write_poses(tmp_path / "poses.json")
    video = Video(tmp_path / "out.mp4", VideoFile(tmp_path / "clip.mp4"))
    predict_to_file(model, frames_of(tmp_path), tmp_path / "masks.json", beside=[video])
    assert VideoFile(tmp_path / "out.mp4").read(2).shape == (48, 64, 3)


def test_a_stopped_video_can_be_resumed(model: Pose2Seg, folder: Path) -> None:
    video = VideoFile(folder / "clip.mp4")
    beside: list[Any] = [Overlays(folder / "overlays"), Video(folder / "out.mp4", video)]
    predict_to_file(model, frames_of(folder), folder / "whole.json", beside=beside)
    whole = [(folder / name).read_bytes() for name in ("whole.json", "out.mp4")]
    (folder / "out.mp4").unlink()
    calls = iter(range(3))
    predict_probabilities = Pose2Seg.predict_probabilities

    def stop_after_some(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return predict_probabilities(*arguments, **options)

    with (
        mock.patch.object(Pose2Seg, "predict_probabilities", stop_after_some),
        pytest.raises(KeyboardInterrupt),
    ):
        predict_to_file(model, frames_of(folder), folder / "again.json", beside=beside, batch_size=2)
    assert not (folder / "out.mp4").exists()
    done = predict_to_file(
        model, frames_of(folder), folder / "again.json", beside=beside, batch_size=2, resume=True
    )
    assert done == Prediction(masks=24, images=12, left_out=0, done_before=6)
    again = [(folder / name).read_bytes() for name in ("again.json", "out.mp4")]
    assert len(json.loads(again[0])) == len(json.loads(whole[0]))
    assert len(VideoFile(folder / "out.mp4")) == 12


def test_a_video_that_disappears_stops_the_run(model: Pose2Seg, folder: Path) -> None:
    frames = frames_of(folder)
    (folder / "clip.mp4").unlink()
    with pytest.raises(GoneError, match=r"clip.mp4: No such file or directory, although it was there when"):
        predict_to_file(model, frames, folder / "masks.json")


def test_the_command_takes_a_video(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    words = ["predict", "clip.mp4", "--poses", "poses.json", "--device", "cpu", "--precision", "float32"]
    assert cli.main([*words, "--frames", "2-4", "--video", "out.mp4"]) == 0
    assert capsys.readouterr().err.startswith("clip_masks.json: 6 masks from 3 images in ")
    ids = [each["image_id"] for each in json.loads((folder / "clip_masks.json").read_text())]
    assert ids == [2, 2, 3, 3, 4, 4]
    drawn = VideoFile(folder / "out.mp4")
    assert [time * drawn.time_base for time in drawn.times] == [Fraction(time, 600) for time in (0, 50, 60)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "--video", "x.mp4"], "--video needs a video, got a.png"),
        (["a.png", "--frames", "1-2"], "--frames needs a video, got a.png"),
        (["clip.mp4", "a.png"], "clip.mp4: a video must be the only input, got 2"),
        (["clip.mp4", "--frames", "3"], "argument --frames: must be FIRST-LAST, such as 0-99, got '3'"),
        (["clip.mp4", "--frames", "3-1"], "argument --frames: must be FIRST-LAST, such as 0-99, got '3-1'"),
        (["clip.mp4", "--frames", "12-15"], "clip.mp4: has 12 frames, none of which was chosen"),
        (["clip.mp4", "--video", "clip.mp4"], "clip.mp4: the video would replace the input clip.mp4"),
        (["clip.mp4", "--video", "masks.json"], "masks.json: the video would replace the masks"),
    ],
)
def test_errors_about_videos_are_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    cv2.imwrite("a.png", np.zeros((9, 9, 3), np.uint8))
    command = ["predict", *words, "--poses", "poses.json", "--output", "masks.json", "--device", "cpu"]
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("pose2seg: error: ")
    assert error.count("\n") == 1
    assert message in error
