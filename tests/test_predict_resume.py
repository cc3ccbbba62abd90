"""A prediction that was stopped goes on with the same inputs, and does again what has changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from photograph_folder import make_photographs
from pose2seg import InputError, Pose2Seg
from pose2seg.dataset import DatasetWarning
from pose2seg.gone import GoneError
from pose2seg.journal import journal_folder
from pose2seg.photographs import find_photographs
from pose2seg.poses import open_poses
from pose2seg.predict import Prediction, predict_to_file
from small_model import small_model


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    torch.manual_seed(0)
    return small_model(torch.ones(1, 17, 3)).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_photographs(tmp_path)
    return tmp_path


class Stopped:
    """A prediction of images 10, 11 and 12, stopped after the first one."""

    def __init__(self, model: Pose2Seg, folder: Path, **options: Any) -> None:
        self.model, self.folder, self.output, self.options = model, folder, folder / "masks.json", options
        predict_rle = Pose2Seg.predict_rle

        def stop_after_one(*arguments: Any, **options: Any) -> Any:
            if list(journal_folder(self.output).glob("*.jsonl")):
                raise KeyboardInterrupt
            return predict_rle(*arguments, **options)

        with mock.patch.object(Pose2Seg, "predict_rle", stop_after_one), pytest.raises(KeyboardInterrupt):
            self.predict(resume=False)

    def predict(self, resume: bool = True) -> Prediction:
        poses = self.options.get("inputs", {}).get("poses", self.folder / "poses.json")
        photographs, _ = find_photographs([self.folder / "photographs"], open_poses(poses))
        return predict_to_file(
            self.model, photographs, self.output, batch_size=1, resume=resume, **self.options
        )

    def sizes(self) -> list[list[int]]:
        return [result["segmentation"]["size"] for result in json.loads(self.output.read_text())]


def test_a_stopped_prediction_goes_on_with_the_same_poses_and_no_others(
    model: Pose2Seg, folder: Path
) -> None:
    poses = folder / "poses.json"
    stopped = Stopped(model, folder, inputs={"poses": poses})
    content = poses.read_text()
    poses.write_text(content + " ")
    with pytest.raises(InputError, match=r"is of a prediction with a checksum of poses \d+, not \d+$"):
        stopped.predict()
    poses.write_text(content)
    assert stopped.predict() == Prediction(masks=3, images=3, left_out=0, done_before=1)


def test_a_stopped_prediction_goes_on_with_the_same_folder_of_poses(model: Pose2Seg, folder: Path) -> None:
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
        with pytest.raises(InputError, match=r"is of a prediction with a checksum of poses \d+, not \d+$"):
            stopped.predict()
        other.write_bytes(content)
    (poses / "3.json").unlink()
    assert stopped.predict() == Prediction(masks=3, images=3, left_out=0, done_before=1)


def test_a_photograph_that_is_done_must_still_be_there(model: Pose2Seg, folder: Path) -> None:
    stopped = Stopped(model, folder)
    first = folder / "photographs" / "0.png"
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(InputError, match=r"with 1 image not among the photographs, such as 10: put back"):
        stopped.predict()
    first.write_bytes(content)
    assert stopped.predict().masks == 3


def test_a_photograph_that_was_replaced_is_done_again(model: Pose2Seg, folder: Path) -> None:
    content = json.loads((folder / "poses.json").read_text())
    content["images"] = [{"id": image["id"], "file_name": image["file_name"]} for image in content["images"]]
    (folder / "poses.json").write_text(json.dumps(content))
    stopped = Stopped(model, folder)
    cv2.imwrite(str(folder / "photographs" / "0.png"), np.zeros((33, 44, 3), np.uint8))
    assert stopped.predict() == Prediction(masks=3, images=3, left_out=0, done_before=0)
    assert stopped.sizes() == [[33, 44], [50, 30], [50, 30]]


def test_a_picture_that_is_gone_is_made_again(model: Pose2Seg, folder: Path) -> None:
    stopped = Stopped(model, folder, overlays=folder / "pictures")
    (folder / "pictures" / "0.png").unlink()
    assert stopped.predict().done_before == 0
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("report", [False, True])
@pytest.mark.parametrize(
    "record", [5, [], [[]], [[], None], ["", None, None], [[1], None, None], [[], [1], None], {"a": 1}]
)
def test_a_record_that_is_damaged_is_as_none(
    model: Pose2Seg, folder: Path, report: bool, record: object
) -> None:
    stopped = Stopped(model, folder, report=folder / "page.html" if report else None)
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
            "2.png: No such file or directory, though it was there when the run began: put it back",
        ),
        (
            unreadable,
            "2.png: Is a directory, though it was there when the run began: put it back, and resume",
        ),
        (damaged, "2.png: not an image .*, though it was another file when the run began: put it back"),
    ],
)
def test_a_photograph_that_changes_for_the_worse_stops_a_prediction(
    model: Pose2Seg, folder: Path, change: Callable[[Path], object], message: str
) -> None:
    """It is not left out, as one that never was any good."""
    output, photograph = folder / "masks.json", folder / "photographs/2.png"
    output.write_text("older")
    photographs, _ = find_photographs([folder / "photographs"], open_poses(folder / "poses.json"))
    change(photograph)
    with pytest.raises(GoneError, match=message):
        predict_to_file(model, photographs, output, batch_size=1)
    assert output.read_text() == "older"
    assert list(journal_folder(output).glob("*.jsonl"))


def test_a_photograph_that_never_could_be_read_is_left_out(model: Pose2Seg, folder: Path) -> None:
    photograph = folder / "photographs/2.png"
    photograph.unlink()
    photograph.symlink_to("nowhere")
    photographs, _ = find_photographs([folder / "photographs"], open_poses(folder / "poses.json"))
    with pytest.warns(DatasetWarning, match=r"2.png: No such file or directory; it is left out$"):
        assert predict_to_file(model, photographs, folder / "masks.json").left_out == 1
