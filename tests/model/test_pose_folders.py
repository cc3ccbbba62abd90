"""Tests of folders of OpenPose and YOLO, and of results of AlphaPose."""

import json
import math
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose2seg import InputError
from pose2seg.common.remarks import DatasetWarning
from pose2seg.data.poses import Person, open_poses
from shared_data import real_images


def names(text: str) -> list[str]:
    return text.split()


# The joints as the documentation of each tool lists them.
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
WIDTH, HEIGHT = 64, 128  # of the images
SIZE = HEIGHT, WIDTH
# The joints as poseParameters.cpp lists them.
OPENPOSE_BODY_25B = names("""
Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle
UpperNeck HeadTop LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel
""")


def place(joint: str) -> tuple[float, float]:
    """Returns a different position for every joint; OpenPose's neck and hip are between two others."""
    between = {"Neck": ("RShoulder", "LShoulder"), "MidHip": ("RHip", "LHip")}
    if joint in between:
        (left, top), (right, bottom) = map(place, between[joint])
        return (left + right) / 2, (top + bottom) / 2
    position = OPENPOSE_BODY_25.index(joint) if joint in OPENPOSE_BODY_25 else 30
    return 2.0 + position, 70.0 - 2 * position


def listed(joints: list[str], confidence: float = 0.5) -> list[float]:
    return [number for joint in joints for number in (*place(joint), confidence)]


EXPECTED = np.array([(*place(joint), 2) for joint in COCO], np.float32)


def people_of(folder: Path, image: str) -> list[Person]:
    found = open_poses(folder).find(folder.parent / image, SIZE)
    assert found is not None
    return found.people


def openpose(
    folder: Path, *people: list[float] | None, name: str = "frame_000_keypoints.json", **more: Any
) -> Path:
    folder.mkdir(exist_ok=True)
    content = {"version": 1.3, "people": [{"pose_keypoints_2d": numbers, **more} for numbers in people]}
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


def test_openpose_people_without_a_body_are_left_out(tmp_path: Path) -> None:
    """OpenPose writes people with only hands in this way."""
    (person,) = people_of(openpose(tmp_path / "poses", [], listed(OPENPOSE_BODY_25), None), "frame_000.png")
    np.testing.assert_array_equal(person.keypoints, EXPECTED)


def test_files_of_openpose_1_0_are_read(tmp_path: Path) -> None:
    folder = openpose(tmp_path / "poses")
    content = {"version": 1.0, "people": [{"pose_keypoints": listed(OPENPOSE_COCO)}]}
    (folder / "frame_000_keypoints.json").write_text(json.dumps(content))
    (person,) = people_of(folder, "frame_000.png")
    np.testing.assert_array_equal(person.keypoints, EXPECTED)


@pytest.mark.parametrize(("person_id", "track"), [([-1], None), ([4], 4), (4, None), ([], None)])
def test_person_ids_of_openpose_are_tracks(tmp_path: Path, person_id: Any, track: int | None) -> None:
    folder = openpose(tmp_path / "poses", listed(OPENPOSE_COCO), person_id=person_id)
    assert people_of(folder, "frame_000.png")[0].track_id == track


def test_people_whose_neck_is_not_between_the_shoulders_are_read_as_body_25b(tmp_path: Path) -> None:
    """The layout is also used for a person whose joints do not decide it."""
    shoulders = [OPENPOSE_BODY_25B.index(joint) for joint in ("LShoulder", "RShoulder", "LHip", "RHip")]
    alone = [0.0 if i // 3 in shoulders else number for i, number in enumerate(listed(OPENPOSE_BODY_25B))]
    folder = openpose(tmp_path / "poses", listed(OPENPOSE_BODY_25B), alone)
    with pytest.warns(
        DatasetWarning, match="poses: is read as OpenPose's BODY_25B, because the joint that is the neck"
    ):
        source = open_poses(folder)
    found = source.find(tmp_path / "frame_000.png", SIZE)
    assert found is not None
    np.testing.assert_array_equal(found.people[0].keypoints, EXPECTED)
    seen = found.people[1].keypoints[:, 2] > 0
    assert seen.sum() == 13
    np.testing.assert_array_equal(found.people[1].keypoints[seen], EXPECTED[seen])


@pytest.mark.parametrize("layout", ["BODY_25", "BODY_25B"])
def test_the_layout_of_25_joints_is_detected_for_real_people(tmp_path: Path, layout: str) -> None:
    """Ten people are enough if neck and hip are off the middle by 10 % of the distance of the joints."""
    rng = np.random.default_rng(0)
    people = np.concatenate([image.keypoints for image in real_images()]).astype(np.float64)
    order = [COCO.index(joint) if joint in COCO else -1 for joint in OPENPOSE_BODY_25]
    right = 0
    for few in np.array_split(people, len(people) // 10):
        joints = np.where(few[:, :, 2:] > 0, few, 0)
        if layout == "BODY_25":
            joints = joints[:, order]
            joints[:, 19:] = 0
            for middle, left in ((1, "LShoulder"), (8, "LHip")):
                a, b = few[:, COCO.index(left)], few[:, COCO.index("R" + left[1:])]
                joints[:, middle] = (a + b) / 2
                joints[:, middle, :2] += 0.1 * np.linalg.norm(a - b, axis=1)[:, None] * rng.normal(size=2)
                joints[:, middle, 2] = np.minimum(a[:, 2], b[:, 2])
        else:
            joints = np.concatenate([joints, np.zeros((len(few), 8, 3))], axis=1)
        folder = openpose(tmp_path / "poses", *joints.reshape(len(few), 75).tolist())
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            open_poses(folder)
        right += bool(told) == (layout == "BODY_25B")
    assert right == len(people) // 10 == 44


@pytest.mark.parametrize(("options", "seen"), [({}, 17), ({"joint_threshold": 0.3}, 16)])
def test_openpose_has_its_own_joint_threshold(tmp_path: Path, options: dict[str, float], seen: int) -> None:
    numbers = listed(OPENPOSE_COCO, 0.4)
    numbers[2] = 0.06
    source = open_poses(openpose(tmp_path / "poses", numbers), **options)
    found = source.find(tmp_path / "frame_000.png", SIZE)
    assert source.joint_threshold == options.get("joint_threshold", 0.05)
    assert found is not None
    assert (found.keypoints[0, :, 2] == 2).sum() == seen
    assert found.people[0].score == pytest.approx(0.4 if seen == 16 else (16 * 0.4 + 0.06) / 17)


def test_the_mean_of_openpose_confidences_is_finite(tmp_path: Path) -> None:
    huge = [3e38 if i % 3 == 2 else number for i, number in enumerate(listed(OPENPOSE_BODY_25))]
    poses = open_poses(openpose(tmp_path / "poses", huge), joint_threshold=0.05)
    found = poses.find(tmp_path / "frame_000.png", SIZE)
    assert found is not None
    assert found.people[0].score == pytest.approx(3e38)


@pytest.mark.parametrize(
    ("confidence", "problem", "threshold"),
    [
        (0.02, r"a joint must have a confidence of at least 0\.05, the highest is 0\.02", 0.01),
        (90.0, "confidences must be from 0 to 1, the highest is 90", 50),
    ],
)
def test_openpose_confidences_of_another_scale_are_rejected(
    tmp_path: Path, confidence: float, problem: str, threshold: float
) -> None:
    folder = openpose(tmp_path / "poses", listed(OPENPOSE_BODY_25, confidence))
    with pytest.raises(InputError, match=f"poses: {problem}: if the confidences have another scale"):
        open_poses(folder)
    found = open_poses(folder, joint_threshold=threshold).find(tmp_path / "frame_000.png", SIZE)
    assert found is not None
    np.testing.assert_array_equal(found.people[0].keypoints, EXPECTED)


@pytest.mark.parametrize(("image", "image_id"), [("0012.jpg", 12), ("frame_1.jpg", "frame_1")])
def test_the_name_of_the_image_is_its_id(tmp_path: Path, image: str, image_id: int | str) -> None:
    folder = openpose(tmp_path / "poses", name=f"{Path(image).stem}_keypoints.json")
    found = open_poses(folder).find(tmp_path / image, SIZE)
    assert found is not None
    assert (found.image_id, found.people) == (image_id, [])
    assert open_poses(folder).find(tmp_path / "other.jpg", SIZE) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], 'frame_000_keypoints.json: expected an object with a list "people", got list'),
        ({"people": [{}]}, r'people\[0\]: expected a person of OpenPose, with "pose_keypoints_2d"'),
        (
            {"people": [{"pose_keypoints_2d": 7}]},
            r'people\[0\]: "pose_keypoints_2d" must be a list, got 7',
        ),
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
def test_openpose_files_of_another_form_are_rejected(tmp_path: Path, content: Any, message: str) -> None:
    folder = openpose(tmp_path / "poses")
    (folder / "frame_000_keypoints.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        people_of(folder, "frame_000.jpg")


@pytest.mark.parametrize("others", [HALPE_26[17:], ["Head"] * 116, ["Head"] * 119, []])
def test_alphapose_results_of_more_joints_begin_with_those_of_coco(tmp_path: Path, others: list[str]) -> None:
    keypoints = listed([*COCO, *others], confidence=0.75)
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
    found = open_poses(path).find(tmp_path / "a 1.jpg", SIZE)
    assert found is not None
    np.testing.assert_array_equal(found.people[0].keypoints, EXPECTED)
    assert found.people[0].score == 2.9


# YOLO


def yolo(folder: Path, *lines: list[float] | str) -> Path:
    """Writes a folder of labels next to the image frame.png."""
    folder.mkdir(exist_ok=True)
    rows = [line if isinstance(line, str) else " ".join(f"{number:g}" for number in line) for line in lines]
    (folder / "frame.txt").write_text("\n".join(rows) + "\n")
    return folder


def label(*thirds: float, score: tuple[float, ...] = ()) -> list[float]:
    """Returns a line; `thirds` are the third numbers of the joints, None for joints of two numbers."""
    joints = [[x / WIDTH, y / HEIGHT] for x, y, _ in EXPECTED]
    if thirds:
        joints = [[*joint, third] for joint, third in zip(joints, thirds, strict=True)]
    return [0, 0.5, 0.5, 1, 1, *(number for joint in joints for number in joint), *score]


def test_yolo_positions_are_relative_to_the_image(tmp_path: Path) -> None:
    first, second = people_of(yolo(tmp_path / "labels", label(*[2] * 17), "", label()), "frame.png")
    for person in (first, second):
        np.testing.assert_allclose(person.keypoints, EXPECTED, rtol=1e-4)
        assert person.score == 1


@pytest.mark.parametrize(
    ("confidence", "problem", "threshold"),
    [
        (0.3, r"a joint must have a confidence of at least 0\.6, the highest is 0\.3", 0.1),
        (80.0, "confidences must be from 0 to 1, the highest is 80", 50),
    ],
)
def test_yolo_confidences_of_another_scale_are_rejected(
    tmp_path: Path, confidence: float, problem: str, threshold: float
) -> None:
    folder = yolo(tmp_path / "labels", label(*[confidence] * 17))
    with pytest.raises(InputError, match=f"labels: {problem}: if the confidences have another scale"):
        open_poses(folder)
    found = open_poses(folder, joint_threshold=threshold).find(tmp_path / "frame.png", SIZE)
    assert found is not None
    np.testing.assert_allclose(found.people[0].keypoints, EXPECTED, rtol=1e-4)


def test_yolo_labels_have_the_visibility_of_coco(tmp_path: Path) -> None:
    (person,) = people_of(yolo(tmp_path / "labels", label(0, 1, 2, *[1] * 14)), "frame.png")
    assert person.keypoints[:, 2].tolist() == [0, 1, 2, *[1] * 14]
    assert person.keypoints[0].tolist() == [0, 0, 0]


def test_yolo_lines_of_several_classes_are_reported(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "labels", label(*[2] * 17), [1, *label(*[2] * 17)[1:]])
    with pytest.warns(DatasetWarning, match="several classes are all read as people: 0, 1$"):
        open_poses(folder)


def test_a_file_of_poses_may_have_another_form_of_unicode(tmp_path: Path) -> None:
    stored, asked = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    folder = yolo(tmp_path / "labels", label(*[2] * 17))
    next(folder.iterdir()).rename(folder / f"{stored}.txt")
    assert len(people_of(folder, f"{asked}.png")) == 1


def test_yolo_predictions_have_confidences(tmp_path: Path) -> None:
    line = label(0, 1, 0.25, *[0.9] * 14, score=(0.75,))
    line[5 + 3 * 16 : 5 + 3 * 16 + 2] = 0, 0  # older releases write a joint below their threshold in this way
    folder = yolo(tmp_path / "labels", line, label(*[1] * 17, score=(0.5,)))
    person, sure = people_of(folder, "frame.png")
    assert person.keypoints[:, 2].tolist() == [0, 2, 0, *[2] * 13, 0]
    assert person.score == 0.75
    assert sure.keypoints[:, 2].tolist() == [2] * 17
    found = open_poses(folder, 0.2).find(tmp_path / "frame.png", SIZE)
    assert found is not None
    assert found.keypoints[0, :, 2].tolist() == [0, *[2] * 15, 0]


def test_in_yolo_labels_without_2_a_1_is_visible(tmp_path: Path) -> None:
    """This is decided for the whole folder, not for a file."""
    folder = yolo(tmp_path / "labels", label(0, *[1] * 16))
    with pytest.warns(DatasetWarning, match="labels: no joint has visibility 2; 1 is read as visible"):
        (person,) = people_of(folder, "frame.png")
    assert person.keypoints[:, 2].tolist() == [0, *[2] * 16]
    other = label(*[2] * 17)
    (folder / "other.txt").write_text(" ".join(map(str, other)))
    (person,) = people_of(folder, "frame.png")
    assert person.keypoints[:, 2].tolist() == [0, *[1] * 16]


@pytest.mark.parametrize("thirds", [(), (0.9,) * 17], ids=["2 numbers", "3 numbers"])
@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        ([()], [(1, None)]),
        ([(0.93,)], [(0.93, None)]),
        ([(1,), (0.93,)], [(1, None), (0.93, None)]),
        ([(3,)], [(1, 3)]),
        ([(1,), (2,)], [(1, 1), (1, 2)]),
        ([(0.93, 1)], [(0.93, 1)]),
    ],
)
def test_yolo_lines_may_end_with_a_score_a_track_or_both(
    tmp_path: Path,
    thirds: tuple[float, ...],
    behind: list[tuple[float, ...]],
    expected: list[tuple[float, int | None]],
) -> None:
    people = people_of(yolo(tmp_path / "labels", *(label(*thirds, score=b) for b in behind)), "frame.png")
    assert [(person.score, person.track_id) for person in people] == expected


@pytest.mark.parametrize(
    ("behind", "message"),
    [
        ([(1,)], "frame.txt:1: the number after the joints may be a score or a track"),
        ([(0.93,), (3,)], "frame.txt:2: the score after the joints must be from 0 to 1, got 3"),
        ([(3,), (0.93,)], "frame.txt:2: the track after the joints must be an integer from 0, got 0.93"),
        ([(3, 0.93)], "frame.txt:1: the score after the joints must be from 0 to 1, got 3"),
        ([(0.5, 0.5)], "frame.txt:1: the track after the joints must be an integer from 0, got 0.5"),
    ],
)
def test_an_ambiguous_number_after_yolo_joints_is_rejected(
    tmp_path: Path, behind: list[tuple[float, ...]], message: str
) -> None:
    folder = yolo(tmp_path / "labels", *(label(*[0.9] * 17, score=b) for b in behind))
    with pytest.raises(InputError, match=message):
        people_of(folder, "frame.png")


def test_other_images_determine_the_number_after_yolo_joints(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "labels", label(score=(1,)))
    (folder / "z.txt").write_text(" ".join(map(str, label(score=(2,)))))
    assert people_of(folder, "frame.png")[0].track_id == 1
    (folder / "a.txt").write_text("damaged")
    assert people_of(folder, "frame.png")[0].track_id == 1


def test_a_repeated_yolo_line_is_one_person(tmp_path: Path) -> None:
    """YOLO appends to the file of an earlier run."""
    line = label(*[0.9] * 17)
    assert len(people_of(yolo(tmp_path / "labels", line, line), "frame.png")) == 1


def test_yolo_joints_of_two_numbers_are_missing_at_the_origin(tmp_path: Path) -> None:
    line = label(score=(0.5,))
    line[5:7] = 0, 0
    nobody = [0, 0.5, 0.5, 1, 1, *[0.0] * 34]
    (person,) = people_of(yolo(tmp_path / "labels", line, nobody), "frame.png")
    assert person.keypoints[:, 2].tolist() == [0, *[2] * 16]
    assert person.score == 0.5


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("unknown", [("nan", "nan"), ("nan", "0.5"), ("0.5", "NaN")])
def test_a_yolo_joint_at_nan_is_missing(tmp_path: Path, dimensions: int, unknown: tuple[str, str]) -> None:
    joints = [["0.25", "0.5", "2"][:dimensions] for _ in range(17)]
    joints[3] = [*unknown, "nan"][:dimensions]
    line = " ".join(["0 .5 .5 .9 .9", *(" ".join(joint) for joint in joints)])
    (person,) = people_of(yolo(tmp_path / "labels", line), "frame.png")
    there = [j for j in range(17) if j != 3]
    assert person.keypoints[3].tolist() == [0, 0, 0]
    assert (person.keypoints[there] == [0.25 * WIDTH, 0.5 * HEIGHT, 2]).all()


def test_a_yolo_confidence_or_score_of_nan_is_rejected(tmp_path: Path) -> None:
    for name, line in (("thirds", label(*[math.nan] * 17)), ("score", label(score=(math.nan,)))):
        with pytest.raises(InputError, match="txt:1: must be finite in float32, got nan"):
            people_of(yolo(tmp_path / name, line), "frame.png")


def test_a_yolo_file_may_be_empty(tmp_path: Path) -> None:
    assert people_of(yolo(tmp_path / "labels"), "frame.png") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 1 1", "frame.txt:2: expected a class, a box and 17 joints .* 39 or 56 numbers .*, got 5"),
        (" ".join(["0"] * 59), "frame.txt:2: expected a class, .* got 59"),
        (" ".join(["x"] * 56), "frame.txt:2: must be numbers, got 'x'"),
        (" ".join(["nan"] * 56), "frame.txt:2: must be finite in float32, got nan"),
        (" ".join(["3e38"] * 39), r"frame.txt:2: positions in pixels must be finite in float32, got 3\.8"),
    ],
)
def test_yolo_lines_of_another_form_are_rejected(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        people_of(yolo(tmp_path / "labels", label(), line), "frame.png")


def test_a_yolo_file_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "labels")
    (folder / "frame.txt").write_bytes(b"0 \xff")
    with pytest.raises(InputError, match="not text: byte 2 is not UTF-8"):
        people_of(folder, "frame.png")


@pytest.mark.parametrize(("names", "found"), [([], "none of these"), (["a.txt", "a.json"], ".json and .txt")])
def test_a_folder_must_have_files_of_one_kind(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=rf"YOLO's .txt or of rtmlib's .npz, got {found}"):
        open_poses(tmp_path)
