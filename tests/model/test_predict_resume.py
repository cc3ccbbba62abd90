"""Tests that a stopped prediction resumes with the same inputs, and repeats what has changed."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from image_folder import make_images
from pose2seg import InputError, Pose2Seg
from pose2seg.common.gone import GoneError
from pose2seg.data.dataset import DatasetWarning
from pose2seg.data.posed_images import find_images
from pose2seg.data.poses import open_poses
from pose2seg.prediction.journal import journal_folder
from pose2seg.prediction.outputs import Overlays, Report
from pose2seg.prediction.predict import Prediction, predict_to_file
from small_model import small_model
from stopped_prediction import Stopped


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    torch.manual_seed(0)
    return small_model(torch.ones(1, 17, 3)).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_images(tmp_path)
    return tmp_path


def test_a_stopped_prediction_only_resumes_with_the_same_poses(model: Pose2Seg, folder: Path) -> None:
    poses = folder / "poses.json"
    stopped = Stopped(model, folder, inputs={"poses": poses})
    content = poses.read_text()
    poses.write_text(content + " ")
    with pytest.raises(InputError, match=r"unfinished: the poses have changed since this run began$"):
        stopped.predict()
    poses.write_text(content)
    assert stopped.predict() == Prediction(masks=3, images=3, left_out=0, done_before=1)


def test_a_stopped_prediction_only_resumes_with_the_same_folder_of_poses(
    model: Pose2Seg, folder: Path
) -> None:
    people = [{"pose_keypoints_2d": [10, 10, 1] * 25}]
    poses = folder / "openpose"
    poses.mkdir()
    for i in range(3):
        (poses / f"{i}_keypoints.json").write_text(json.dumps({"people": people}))
    stopped = Stopped(model, folder, inputs={"poses": poses})
    other, content = poses / "2_keypoints.json", (poses / "2_keypoints.json").read_bytes()
    (poses / "rendered.png").touch()
    for change in (lambda: other.write_text("{}"), lambda: other.rename(poses / "3.json")):
        change()
        with pytest.raises(InputError, match=r"unfinished: the poses have changed since this run began$"):
            stopped.predict()
        other.write_bytes(content)
    (poses / "3.json").unlink()
    assert stopped.predict() == Prediction(masks=3, images=3, left_out=0, done_before=1)


def test_a_finished_image_must_still_exist(model: Pose2Seg, folder: Path) -> None:
    stopped = Stopped(model, folder)
    first = folder / "images" / "0.png"
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(InputError, match=r"1 image of the stopped run is missing, such as 10: put back what"):
        stopped.predict()
    first.write_bytes(content)
    assert stopped.predict().masks == 3


def test_a_replaced_image_is_processed_again(model: Pose2Seg, folder: Path) -> None:
    content = json.loads((folder / "poses.json").read_text())
    content["images"] = [{"id": image["id"], "file_name": image["file_name"]} for image in content["images"]]
    (folder / "poses.json").write_text(json.dumps(content))
    stopped = Stopped(model, folder)
    cv2.imwrite(str(folder / "images" / "0.png"), np.zeros((33, 44, 3), np.uint8))
    assert stopped.predict() == Prediction(masks=3, images=3, left_out=0, done_before=0)
    assert stopped.sizes() == [[33, 44], [50, 30], [50, 30]]


def test_a_missing_overlay_is_written_again(model: Pose2Seg, folder: Path) -> None:
    stopped = Stopped(model, folder, beside=[Overlays(folder / "overlays")])
    (folder / "overlays" / "0.png").unlink()
    assert stopped.predict().done_before == 0
    assert sorted(path.name for path in (folder / "overlays").iterdir()) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("report", [False, True])
@pytest.mark.parametrize(
    "record", [5, [], [[]], [[], None], ["", None, None], [[1], None, None], [[], [1], None], {"a": 1}]
)
def test_a_damaged_record_is_ignored(model: Pose2Seg, folder: Path, report: bool, record: object) -> None:
    stopped = Stopped(model, folder, beside=[Report(folder / "page.html")] if report else [])
    (lines,) = journal_folder(stopped.output).glob("*.jsonl")
    lines.write_text(json.dumps([[10, record]]) + "\n")
    assert stopped.predict() == Prediction(masks=3, images=3, left_out=0, done_before=0)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def unreadable(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            Path.unlink,
            "2.png: No such file or directory, although it was there when the run began: put it back",
        ),
        (
            unreadable,
            "2.png: Is a directory, although it was there when the run began: put it back, and resume",
        ),
        (damaged, "2.png: not an image .*, although it was another file when the run began: put it back"),
    ],
)
def test_an_image_that_becomes_unreadable_stops_a_prediction(
    model: Pose2Seg, folder: Path, change: Callable[[Path], object], message: str
) -> None:
    """The image is not left out, as one that was never readable would be."""
    output, image = folder / "masks.json", folder / "images/2.png"
    output.write_text("older")
    found, _ = find_images([folder / "images"], open_poses(folder / "poses.json"))
    change(image)
    with pytest.raises(GoneError, match=message):
        predict_to_file(model, found, output, batch_size=1)
    assert output.read_text() == "older"
    assert list(journal_folder(output).glob("*.jsonl"))


def test_an_image_that_was_never_readable_is_left_out(model: Pose2Seg, folder: Path) -> None:
    image = folder / "images/2.png"
    image.unlink()
    image.symlink_to("nowhere")
    found, _ = find_images([folder / "images"], open_poses(folder / "poses.json"))
    with pytest.warns(DatasetWarning, match=r"2.png: No such file or directory; it is left out$"):
        assert predict_to_file(model, found, folder / "masks.json").left_out == 1
