"""Tests of files of other tools, which write them in the tests if they are installed (extra interop).

The dependencies of MMPose cannot be installed with a current torch; its files are tested if mmpose, mmengine and
mmcv-lite are installed without them. FiftyOne needs a database server, and is not tested here.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pose2seg import InputError
from pose2seg.data.poses import open_poses, read_poses
from two_people import (
    CONFIDENCES,
    POSITIONS,
    SIZE,
    Array,
    expected_of_confidences,
    expected_of_visibility,
    found_in,
    require,
)

# Ultralytics


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a result of Ultralytics with the two people."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    try:
        from ultralytics.engine.results import Results
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no Ultralytics that fits torch {torch.__version__} (extra interop): {error}")
    boxes = torch.tensor([[15.0, 25, 60, 60, 0.75, 0], [85, 5, 110, 80, 0.5, 0]])
    joints = torch.from_numpy(np.dstack([POSITIONS, CONFIDENCES]))
    image = np.zeros((*SIZE, 3), np.uint8)
    return Results(image, path="one.png", names={0: "person"}, boxes=boxes, keypoints=joints)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_to_json_of_ultralytics(result: Any, tmp_path: Path, threshold: float | None) -> None:
    folder = tmp_path / "poses"
    folder.mkdir()
    (folder / "one.json").write_text(result.to_json())
    (folder / "nobody.json").write_text(result[:0].to_json())
    found = found_in(folder, threshold=threshold)
    require(found, expected_of_confidences(threshold or 0.6))
    assert [person.score for person in found.people] == [0.75, 0.5]
    assert found_in(folder, "nobody.png").people == []


def test_to_json_of_ultralytics_with_tracks(result: Any, tmp_path: Path) -> None:
    boxes = result.boxes.data
    result.update(boxes=torch.cat([boxes[:, :4], torch.tensor([[3.0], [8]]), boxes[:, 4:]], dim=1))
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/one.json").write_text(result.to_json())
    assert [person.track_id for person in found_in(tmp_path / "poses").people] == [3, 8]


def test_ultralytics_joints_without_confidences_are_visible(result: Any, tmp_path: Path) -> None:
    result.update(keypoints=torch.from_numpy(POSITIONS))
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/one.json").write_text(result.to_json())
    require(found_in(tmp_path / "poses"), expected_of_visibility(np.full((2, 17), 2)))


def test_save_txt_of_ultralytics(result: Any, tmp_path: Path) -> None:
    result.save_txt(tmp_path / "poses/one.txt", save_conf=True)
    found = found_in(tmp_path / "poses")
    require(found, expected_of_confidences(0.6), atol=1e-3)
    assert [person.score for person in found.people] == [0.75, 0.5]


# supervision and rtmlib: arrays


def test_arrays_of_supervision(result: Any, tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision", reason="no supervision (extra interop)")
    people = supervision.KeyPoints.from_ultralytics(result)
    (tmp_path / "poses").mkdir()
    np.savez(tmp_path / "poses/one.npz", keypoints=people.xy, scores=people.keypoint_confidence)
    require(found_in(tmp_path / "poses"), expected_of_confidences(0.6))


@pytest.mark.parametrize("names", [("keypoints", "scores"), ("arr_0", "arr_1")])
@pytest.mark.parametrize("others", [0, 9, 116])
def test_arrays_of_rtmlib(tmp_path: Path, names: tuple[str, str], others: int) -> None:
    """rtmlib's models return float32 arrays, for bodies, bodies with feet and whole bodies."""
    folder = tmp_path / "poses"
    folder.mkdir()
    positions: Any = np.pad(POSITIONS, ((0, 0), (0, others), (0, 0))).astype(np.float32)
    confidences: Any = np.pad(CONFIDENCES, ((0, 0), (0, others))).astype(np.float32)
    np.savez(folder / "one.npz", **{names[0]: positions, names[1]: confidences})
    np.savez(folder / "nobody.npz", **{names[0]: positions[:0], names[1]: confidences[:0]})
    found = found_in(folder)
    require(found, expected_of_confidences(0.6))
    means = [each[each >= 0.6].mean() for each in CONFIDENCES]
    assert [person.score for person in found.people] == pytest.approx(means)
    assert found_in(folder, "nobody.png").people == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"boxes": np.zeros(3)}, 'must hold the arrays "keypoints" and "scores", got boxes'),
        ({"keypoints": POSITIONS}, 'must hold the arrays "keypoints" and "scores", got keypoints'),
        (
            {"keypoints": POSITIONS[:, :16], "scores": CONFIDENCES[:, :16]},
            r"must be .*, got \(2, 16, 2\) and \(2, 16\)",
        ),
        ({"keypoints": POSITIONS, "scores": CONFIDENCES[:1]}, r"must be .*, got \(2, 17, 2\) and \(1, 17\)"),
        ({"keypoints": POSITIONS, "scores": CONFIDENCES.astype("U")}, "must be numbers, got <U"),
        ({"keypoints": POSITIONS * np.inf, "scores": CONFIDENCES}, "must be finite in float32"),
        (
            {"keypoints": np.array([None]), "scores": CONFIDENCES},
            "not an .npz file of numbers: .*allow_pickle",
        ),
    ],
)
def test_arrays_of_another_form_are_rejected(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    (tmp_path / "poses").mkdir()
    np.savez(tmp_path / "poses/one.npz", **arrays)
    with pytest.raises(InputError, match=f"one.npz: .*{message}"):
        found_in(tmp_path / "poses")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"\x93NUMPY"])
def test_damaged_npz_files_are_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/one.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"one.npz: not an .npz file of numbers"):
        found_in(tmp_path / "poses")


def test_a_joint_at_nan_in_an_array_is_missing(tmp_path: Path) -> None:
    (tmp_path / "poses").mkdir()
    positions = POSITIONS.copy()
    positions[0, 16] = np.nan
    np.savez(tmp_path / "poses/one.npz", keypoints=positions, scores=CONFIDENCES)
    expected = expected_of_confidences(0.6)
    expected[0, 16] = 0
    require(found_in(tmp_path / "poses"), expected)


def test_confidences_of_another_scale_in_arrays_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "poses").mkdir()
    np.savez(tmp_path / "poses/one.npz", keypoints=POSITIONS, scores=100 * CONFIDENCES)
    with pytest.raises(InputError, match="poses: confidences must be from 0 to 1, the highest is 95"):
        open_poses(tmp_path / "poses")
    require(found_in(tmp_path / "poses", threshold=60), expected_of_confidences(0.6))


# MMPose


def mmpose_instances(**fields: Any) -> Any:
    """Returns a prediction as MMPose's inferencer writes it, by MMPose's own functions."""
    structures = pytest.importorskip(
        "mmpose.structures", reason="no mmpose (it must be installed without dependencies)"
    )
    from mmengine.structures import InstanceData

    data = InstanceData()
    data.keypoints, data.keypoint_scores = POSITIONS, CONFIDENCES
    for name, value in fields.items():
        setattr(data, name, value)
    return structures.split_instances(data)


BOXES = {
    "bboxes": np.array([[15.0, 25, 60, 60], [85, 5, 110, 80]]),
    "bbox_scores": np.array([0.75, 0.5], np.float32),
}


@pytest.mark.parametrize("fields", [{}, BOXES], ids=["without boxes", "with boxes"])
def test_predictions_of_mmpose(tmp_path: Path, fields: dict[str, Array]) -> None:
    instances = mmpose_instances(**fields)
    import mmengine

    (tmp_path / "poses").mkdir()
    mmengine.dump([], str(tmp_path / "poses/nobody.json"))
    mmengine.dump(instances, str(tmp_path / "poses/one.json"), indent="  ")
    found = found_in(tmp_path / "poses")
    require(found, expected_of_confidences(0.6))
    means = [each[each >= 0.6].mean() for each in CONFIDENCES]
    assert [person.score for person in found.people] == pytest.approx([0.75, 0.5] if fields else means)
    assert found_in(tmp_path / "poses", "nobody.png").people == []


@pytest.mark.parametrize("name", ["one.png.predictions.json", "one.json"])
def test_predictions_of_openpifpaf(tmp_path: Path, name: str) -> None:
    (tmp_path / "poses").mkdir()
    joints = np.dstack([POSITIONS, CONFIDENCES]).reshape(2, -1).tolist()
    people = [{"keypoints": each, "bbox": [1, 2, 3, 4], "score": 0.75, "category_id": 1} for each in joints]
    (tmp_path / "poses" / name).write_text(json.dumps(people))
    found = found_in(tmp_path / "poses")
    require(found, expected_of_confidences(0.6))
    assert [person.score for person in found.people] == [0.75, 0.75]


def test_predictions_of_mmpose_s_demo(tmp_path: Path) -> None:
    (tmp_path / "poses").mkdir()
    content = {"meta_info": {"dataset_name": "coco"}, "instance_info": mmpose_instances()}
    (tmp_path / "poses/results_one.json").write_text(json.dumps(content))
    require(found_in(tmp_path / "poses"), expected_of_confidences(0.6))


@pytest.mark.parametrize("wrap", [lambda frames: frames, lambda frames: {"instance_info": frames}])
def test_frames_of_mmpose(tmp_path: Path, wrap: Any) -> None:
    frames = [{"frame_id": 0, "instances": []}, {"frame_id": 12, "instances": mmpose_instances()}]
    (tmp_path / "video.json").write_text(json.dumps(wrap(frames)))
    require(found_in(tmp_path / "video.json", "000012.png"), expected_of_confidences(0.6))
    assert found_in(tmp_path / "video.json", "0.png").people == []
    assert read_poses(tmp_path / "video.json").find(Path("1.png")) is None


def nested() -> list[Any]:
    return list(np.dstack([POSITIONS, CONFIDENCES]).tolist())


def test_results_of_mmpose_0_x(tmp_path: Path) -> None:
    """MMPose's functions for an image return a record for each person, which scripts write as JSON."""
    (tmp_path / "poses").mkdir()
    people = [{"bbox": [15, 25, 60, 60, 0.75], "keypoints": each, "track_id": 4} for each in nested()]
    (tmp_path / "poses/one.json").write_text(json.dumps(people))
    found = found_in(tmp_path / "poses")
    require(found, expected_of_confidences(0.6))
    assert [(person.score, person.track_id) for person in found.people] == [(0.75, 4)] * 2


TOP_DOWN = {
    "boxes": [[37, 42, 1, 1, 9, 0.75], [97, 42, 1, 1, 9, 0.5]],
    "bbox_ids": [0, 1],
    "output_heatmap": None,
}


@pytest.mark.parametrize(
    ("batch", "scores"),
    [
        (TOP_DOWN | {"image_paths": ["data/val/one.png", "data/val/one.png"]}, [0.75, 0.5]),
        (
            {"scores": [0.25, 0.125], "image_paths": ["data/val/one.png"], "output_heatmap": None},
            [0.25, 0.125],
        ),
    ],
    ids=["top-down", "bottom-up"],
)
def test_outputs_of_tools_test_of_mmpose_0_x(
    tmp_path: Path, batch: dict[str, Any], scores: list[float]
) -> None:
    tagged = [[[*joint, 0.1] for joint in person] for person in nested()]
    empty = {"preds": [], "scores": [], "image_paths": ["data/val/nobody.png"]}
    (tmp_path / "out.json").write_text(json.dumps([empty, {"preds": tagged, **batch}]))
    poses = read_poses(tmp_path / "out.json")
    found = poses.find(Path("/home/data/val/one.png"))
    assert found is not None
    require(found, expected_of_confidences(0.6))
    assert [person.score for person in found.people] == scores
    nobody = poses.find(Path("data/val/nobody.png"))
    assert nobody is not None
    assert (nobody.image_id, nobody.people) == ("nobody", [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"keypoints": [[1, 2]] * 16, "keypoint_scores": [1] * 16}], "COCO's 17 joints, .*, got 16"),
        (
            [{"keypoints": [[1, 2]] * 17, "keypoint_scores": [1] * 16}],
            "lists of equal length, got 17 and 16",
        ),
        ([{"keypoints": [[1, 2, 3]] * 17, "keypoint_scores": [1] * 17}], "must be lists of 2, got"),
        (
            [{"keypoints": {"x": [1] * 17, "y": [1] * 16}}],
            "lists of equal length, got 17 and 16 and 17",
        ),
        (
            [{"keypoints": {"x": [1] * 17, "y": ["1"] * 17}}],
            "\"keypoints\" must be finite in float32, got '1'",
        ),
        ([{"name": "person", "confidence": 0.5}], '"keypoints" must be a list, got nothing'),
        (
            [{"keypoints": [[1, 2, 0.9]] * 17, "bbox": [0, 0, 1, 1, "a"]}],
            'the score in "bbox" must be finite',
        ),
    ],
)
def test_records_of_another_form_are_rejected(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/one.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"one.json\[0\]: .*{message}"):
        found_in(tmp_path / "poses")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"frame_id": 1, "instances": []}] * 2, r'\[1\]: another frame has this "frame_id" too, 1'),
        ([{"frame_id": "1", "instances": []}], r'\[0\]: "frame_id" must be an integer'),
        (
            [{"preds": [1, 2], "image_paths": ["a", "b", "c"]}],
            r'\[0\]: "preds" must have as many entries as .*, 3, got 2',
        ),
        ([{"preds": [], "image_paths": [1]}], r'\[0\]: "image_paths" must be strings'),
        ([{"keypoints": [], "keypoint_scores": []}], "contains the people of one image, .* give the folder"),
        ({"people": []}, "contains the people of one image, .* give the folder"),
    ],
)
def test_files_of_many_images_of_another_form_are_rejected(
    tmp_path: Path, content: Any, message: str
) -> None:
    (tmp_path / "poses.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"poses.json.*{message}"):
        read_poses(tmp_path / "poses.json")
