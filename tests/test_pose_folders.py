"""OpenPose's and YOLO's folders, and the results of AlphaPose."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pose2seg import InputError
from pose2seg.poses import Person, open_poses


def names(text: str) -> list[str]:
    return text.split()


# As the documentation of each lists them, in its words.
OPENPOSE_BODY_25 = names("""
Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle REye LEye
REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel
""")
OPENPOSE_COCO = names("""
Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar
""")
HALPE_26 = names("""
Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle
Head Neck Hip LBigToe RBigToe LSmallToe RSmallToe LHeel RHeel
""")
COCO = HALPE_26[:17]


def place(joint: str) -> tuple[float, float]:
    """Every joint has its own."""
    position = OPENPOSE_BODY_25.index(joint) if joint in OPENPOSE_BODY_25 else 30
    return 2.0 + position, 70.0 - 2 * position


def listed(joints: list[str], confidence: float = 0.5) -> list[float]:
    return [number for joint in joints for number in (*place(joint), confidence)]


EXPECTED = np.array([(*place(joint), 2) for joint in COCO], np.float32)


def people_of(folder: Path, image: str) -> list[Person]:
    found = open_poses(folder).find(folder.parent / image)
    assert found is not None
    return found.people


def openpose(folder: Path, *people: list[float], name: str = "frame_000_keypoints.json") -> Path:
    folder.mkdir(exist_ok=True)
    content = {"version": 1.3, "people": [{"pose_keypoints_2d": numbers} for numbers in people]}
    (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("joints", [OPENPOSE_BODY_25, OPENPOSE_COCO], ids=["BODY_25", "COCO"])
@pytest.mark.parametrize("name", ["frame_000_keypoints.json", "frame_000.json"])
def test_openpose_joints_become_those_of_coco(tmp_path: Path, joints: list[str], name: str) -> None:
    (person,) = people_of(openpose(tmp_path / "poses", listed(joints), name=name), "frame_000.png")
    np.testing.assert_array_equal(person.keypoints, EXPECTED)
    assert person.score == 0.5


def test_openpose_joints_that_were_not_found_are_missing(tmp_path: Path) -> None:
    numbers = listed(OPENPOSE_BODY_25)
    numbers[:3] = 0, 0, 0
    numbers[3 * OPENPOSE_BODY_25.index("LAnkle") + 2] = 0
    numbers[3 * OPENPOSE_BODY_25.index("REye") + 2] = 0.95
    nobody = [0.0] * 75
    (person,) = people_of(openpose(tmp_path / "poses", numbers, nobody), "frame_000.jpg")
    expected = EXPECTED.copy()
    expected[[COCO.index("Nose"), COCO.index("LAnkle")]] = 0
    np.testing.assert_array_equal(person.keypoints, expected)
    assert person.score == pytest.approx((14 * 0.5 + 0.95) / 15)


def test_the_mean_of_openpose_confidences_is_finite(tmp_path: Path) -> None:
    huge = [3e38 if i % 3 == 2 else number for i, number in enumerate(listed(OPENPOSE_BODY_25))]
    (person,) = people_of(openpose(tmp_path / "poses", huge), "frame_000.png")
    assert person.score == pytest.approx(3e38)


@pytest.mark.parametrize(("image", "image_id"), [("0012.jpg", 12), ("frame_1.jpg", "frame_1")])
def test_the_name_of_the_image_is_its_id(tmp_path: Path, image: str, image_id: int | str) -> None:
    folder = openpose(tmp_path / "poses", name=f"{Path(image).stem}_keypoints.json")
    found = open_poses(folder).find(tmp_path / image)
    assert found is not None
    assert (found.image_id, found.people) == (image_id, [])
    assert open_poses(folder).find(tmp_path / "other.jpg") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], 'frame_000_keypoints.json: expected an object with a list "people", got list'),
        ({"people": [{}]}, r'people\[0\]: "pose_keypoints_2d" must be a list, got nothing'),
        (
            {"people": [{"pose_keypoints_2d": [0.5] * 45}]},
            r'people\[0\]: "pose_keypoints_2d" must be 75 numbers \(BODY_25\) or 54 \(COCO\), got 45',
        ),
        (
            {"people": [{"pose_keypoints_2d": [1, 1, None] * 25}]},
            r'people\[0\]: "pose_keypoints_2d" must be finite in float32, got nothing',
        ),
    ],
)
def test_openpose_files_of_another_form_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    folder = openpose(tmp_path / "poses")
    (folder / "frame_000_keypoints.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        people_of(folder, "frame_000.jpg")


@pytest.mark.parametrize("others", [HALPE_26[17:], ["Head"] * 116, ["Head"] * 119, []])
def test_alphapose_results_of_more_joints_begin_with_those_of_coco(tmp_path: Path, others: list[str]) -> None:
    keypoints = listed([*COCO, *others], confidence=5.5)
    path = tmp_path / "alphapose-results.json"
    result = {
        "image_id": "a 1.jpg",
        "category_id": 1,
        "keypoints": keypoints,
        "score": 2.9,
        "box": [],
        "idx": 0,
    }
    path.write_text(json.dumps([result]))
    found = open_poses(path).find(tmp_path / "a 1.jpg")
    assert found is not None
    np.testing.assert_array_equal(found.people[0].keypoints, EXPECTED)
    assert found.people[0].score == 2.9


# YOLO

WIDTH, HEIGHT = 64, 128


def yolo(folder: Path, *lines: list[float] | str) -> Path:
    """A folder of labels beside the image frame.png."""
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder.parent / "frame.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    rows = [line if isinstance(line, str) else " ".join(f"{number:g}" for number in line) for line in lines]
    (folder / "frame.txt").write_text("\n".join(rows) + "\n")
    return folder


def label(*thirds: float, score: tuple[float, ...] = ()) -> list[float]:
    """A line; `thirds` are the third numbers of the joints, none for joints of two."""
    joints = [[x / WIDTH, y / HEIGHT] for x, y, _ in EXPECTED]
    if thirds:
        joints = [[*joint, third] for joint, third in zip(joints, thirds, strict=True)]
    return [0, 0.5, 0.5, 1, 1, *(number for joint in joints for number in joint), *score]


def test_yolo_positions_are_parts_of_the_image(tmp_path: Path) -> None:
    first, second = people_of(yolo(tmp_path / "labels", label(*[2] * 17), "", label()), "frame.png")
    for person in (first, second):
        np.testing.assert_allclose(person.keypoints, EXPECTED, rtol=1e-4)
        assert person.score == 1


def test_yolo_labels_have_the_visibility_of_coco(tmp_path: Path) -> None:
    (person,) = people_of(yolo(tmp_path / "labels", label(0, 1, 2, *[1] * 14)), "frame.png")
    assert person.keypoints[:, 2].tolist() == [0, 1, 2, *[1] * 14]
    assert person.keypoints[0].tolist() == [0, 0, 0]


def test_yolo_predictions_have_confidences(tmp_path: Path) -> None:
    line = label(0, 1, 0.25, *[0.9] * 14, score=(0.75,))
    line[5 + 3 * 16 : 5 + 3 * 16 + 2] = 0, 0  # as the predictor writes a joint below its threshold
    (person,) = people_of(yolo(tmp_path / "labels", line), "frame.png")
    assert person.keypoints[:, 2].tolist() == [0, *[2] * 15, 0]
    assert person.score == 0.75


def test_yolo_joints_of_two_numbers_are_missing_at_the_origin(tmp_path: Path) -> None:
    line = label(score=(0.5,))
    line[5:7] = 0, 0
    nobody = [0, 0.5, 0.5, 1, 1, *[0.0] * 34]
    (person,) = people_of(yolo(tmp_path / "labels", line, nobody), "frame.png")
    assert person.keypoints[:, 2].tolist() == [0, *[2] * 16]
    assert person.score == 0.5


def test_a_yolo_file_may_be_empty(tmp_path: Path) -> None:
    assert people_of(yolo(tmp_path / "labels"), "frame.png") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 1 1", "frame.txt:2: expected a class, a box and 17 joints .* 39 or 56 numbers .*, got 5"),
        (" ".join(["0"] * 58), "frame.txt:2: expected a class, .* got 58"),
        (" ".join(["x"] * 56), "frame.txt:2: must be numbers, got 'x'"),
        (" ".join(["nan"] * 56), "frame.txt:2: must be finite in float32, got nan"),
        (" ".join(["3e38"] * 39), r"frame.txt:2: positions in pixels must be finite in float32, got 3\.8"),
    ],
)
def test_yolo_lines_of_another_form_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        people_of(yolo(tmp_path / "labels", label(), line), "frame.png")


def test_a_yolo_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "labels")
    (folder / "frame.txt").write_bytes(b"0 \xff")
    with pytest.raises(InputError, match="not text: byte 2 is not UTF-8"):
        people_of(folder, "frame.png")


@pytest.mark.parametrize(("names", "found"), [([], "neither"), (["a.txt", "a.json"], "both")])
def test_a_folder_is_of_one_kind(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=rf"OpenPose's .json or YOLO's .txt files, got {found}"):
        open_poses(tmp_path)
