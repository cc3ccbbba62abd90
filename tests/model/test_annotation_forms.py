"""Tests of COCO annotation files as tools write them, which every command reads in the same way."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pose2seg import InputError
from pose2seg.data.dataset import DatasetWarning, read_dataset
from pose2seg.data.poses import read_poses
from pose2seg.data.poses.joint_names import coco_joint
from pose2seg.training.cluster import read_annotated_people

from pose2seg_ops import COCO_KEYPOINTS

POSE = [number for i in range(17) for number in (3 + i, 5 + i, 1 + i % 2)]
SQUARE = [[2, 2, 28, 2, 28, 30, 2, 30]]
Poses = npt.NDArray[np.float32]


def person(**changes: Any) -> dict[str, Any]:
    record = {"image_id": 7, "category_id": 1, "keypoints": POSE, "segmentation": SQUARE, "iscrowd": 0}
    return {**record, "bbox": [2, 2, 26, 28], **changes}


def write(folder: Path, *people: dict[str, Any], **changes: Any) -> Path:
    """Writes annotations of images/one.png, and the image."""
    (folder / "images").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "images/one.png"), np.full((40, 30, 3), 90, np.uint8))
    content = {
        "images": [{"id": 7, "file_name": "one.png", "height": 40, "width": 30}],
        "annotations": [{"id": 70 + i, **record} for i, record in enumerate(people)],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content | changes))
    return path


def by_predict(path: Path) -> Poses:
    found = read_poses(path).find(path.parent / "images/one.png")
    assert found is not None
    return found.keypoints


def by_evaluate_and_train(path: Path) -> Poses:
    (image,) = read_dataset(path, path.parent / "images")
    return image.keypoints


def by_templates(path: Path) -> Poses:
    return read_annotated_people([path])[0]


every_reader = pytest.mark.parametrize("read", [by_predict, by_evaluate_and_train, by_templates])
Reader = Callable[[Path], Poses]


def told(read: Reader, path: Path) -> tuple[Poses, list[str]]:
    """Reads poses. Returns them and the warnings, without the path."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DatasetWarning)
        poses = read(path)
    messages = [str(each.message) for each in caught if issubclass(each.category, DatasetWarning)]
    return poses, [message.replace(f"{path}: ", "") for message in messages]


def spelt(change: Callable[[str], str]) -> list[str]:
    return [change(name) for name in COCO_KEYPOINTS]


def with_side_last(name: str) -> str:
    side, _, part = name.rpartition("_")
    return f"{part}.{side[:1].upper()}" if side else part


def of_openpose(name: str) -> str:
    side, _, part = name.rpartition("_")
    return f"{side[:1].upper()}{part.title()}"


SPELLINGS = {
    "dashes": spelt(lambda name: name.replace("_", "-")),
    "spaces and capitals": spelt(lambda name: name.replace("_", " ").title()),
    "capitals": spelt(str.upper),
    "together": spelt(lambda name: name.replace("_", "")),
    "camel case": spelt(lambda name: name[0] + name.title().replace("_", "")[1:]),
    "sides last": spelt(with_side_last),
    "letters for sides": spelt(of_openpose),
}


@every_reader
@pytest.mark.parametrize("names", SPELLINGS.values(), ids=SPELLINGS)
def test_joints_are_recognised_in_any_spelling(tmp_path: Path, read: Reader, names: list[str]) -> None:
    path = write(tmp_path, person(), categories=[{"id": 1, "name": "person", "keypoints": names}])
    poses, messages = told(read, path)
    np.testing.assert_array_equal(poses, np.array(POSE, np.float32).reshape(1, 17, 3))
    assert not messages


@pytest.mark.parametrize(
    "name",
    ["rear", "Rear", "LEAR", "neck", "left_eye_1", "left_front_paw", "hand.L", "left", "eye", "目", ""],
)
def test_other_joints_are_not_recognised(name: str) -> None:
    assert coco_joint(name) is None


@every_reader
def test_mostly_unknown_names_are_rejected(tmp_path: Path, read: Reader) -> None:
    names = ["nose", *(f"kp{i}" for i in range(16))]
    path = write(tmp_path, person(), categories=[{"id": 1, "name": "person", "keypoints": names}])
    message = (
        r'categories\[0\] \(id 1\): "keypoints" must be .*, but 16 of 17 are unknown: \'kp0\', \'kp1\', '
    )
    with pytest.raises(InputError, match=message):
        read(path)


@every_reader
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (list(range(17)), "17 of 17 are unknown: 0, 1, 2"),
        (["nose", "left-eye", "left_eye"], "has left_eye more than once: 'left-eye', 'left_eye'"),
    ],
)
def test_repeated_and_missing_names_are_rejected(
    tmp_path: Path, read: Reader, names: list[Any], message: str
) -> None:
    keypoints = POSE[: 3 * len(names)]
    categories = [{"id": 1, "name": "person", "keypoints": names}]
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, person(keypoints=keypoints), categories=categories))


@every_reader
@pytest.mark.parametrize("nothing", [[], None])
def test_a_category_without_names_of_joints_has_those_of_coco(
    tmp_path: Path, read: Reader, nothing: list[str] | None
) -> None:
    path = write(tmp_path, person(), categories=[{"id": 1, "name": "person", "keypoints": nothing}])
    assert read(path).reshape(-1).tolist() == POSE


@every_reader
def test_joints_that_coco_lacks_are_reported(tmp_path: Path, read: Reader) -> None:
    categories = [{"id": 1, "name": "person", "keypoints": ["left_shoulder", "head", "neck", "left_hip"]}]
    poses, messages = told(read, write(tmp_path, person(keypoints=POSE[:12]), categories=categories))
    assert (poses[0, :, 2] > 0).sum() == 2
    remark = "joints in \"keypoints\" that COCO lacks are left out: 'head', 'neck'"
    assert messages == [f"categories[0] (id 1): {remark}"]


@every_reader
@pytest.mark.parametrize("position", [(float("nan"), 4), (4, float("nan")), (None, None)])
@pytest.mark.parametrize("third", [0, 2, float("nan"), None])
def test_a_joint_without_a_position_is_missing(
    tmp_path: Path, read: Reader, position: tuple[Any, Any], third: Any
) -> None:
    poses = read(write(tmp_path, person(keypoints=[*position, third, *POSE[3:]])))
    assert poses.reshape(-1).tolist() == [0, 0, 0, *POSE[3:]]


def test_a_joint_of_a_result_without_a_position_is_missing(tmp_path: Path) -> None:
    result = {"image_id": "one", "keypoints": [float("nan"), 1, 0.9] * 2 + [3, 4, 1] * 15, "score": 1}
    path = write(tmp_path)
    path.write_text(json.dumps([result]))
    assert by_predict(path)[0, :3].tolist() == [[0, 0, 0], [0, 0, 0], [3, 4, 2]]


@every_reader
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_determines_the_encoding(tmp_path: Path, read: Reader, encoding: str) -> None:
    path = write(tmp_path, person())
    path.write_bytes(path.read_text().encode(encoding))
    assert read(path).shape == (1, 17, 3)


DOG = {"id": 2, "name": "dog", "keypoints": ["nose", "tail"]}
BALL = {"id": 3, "name": "ball", "keypoints": ["ball"]}


@every_reader
@pytest.mark.parametrize("name", ["person", "Pedestrian", "player"])
def test_other_categories_are_not_people(tmp_path: Path, read: Reader, name: str) -> None:
    categories = [{"id": 1, "name": name, "keypoints": list(COCO_KEYPOINTS)}, DOG, BALL]
    dog, ball = person(category_id=2, keypoints=POSE[:6]), person(category_id=3, keypoints=[9, 9, 2])
    car = person(category_id=4, keypoints=[0] * 51)
    poses, messages = told(read, write(tmp_path, dog, person(), ball, dog, car, categories=categories))
    assert poses.reshape(-1).tolist() == POSE
    must = 'is left out: "category_id" must be that of a person, got 2 ('
    assert messages == [f"annotations[0] (id 70) {must}'dog') (and 2 more of this kind)"]


@every_reader
def test_a_supercategory_can_be_a_person(tmp_path: Path, read: Reader) -> None:
    man = {"id": 1, "name": "man", "supercategory": "person", "keypoints": ["nose"]}
    categories = [man, {"id": 2, "name": "cat", "keypoints": list(COCO_KEYPOINTS)}]
    people = [person(keypoints=[10, 20, 2]), person(category_id=2)]
    poses, _ = told(read, write(tmp_path, *people, categories=categories))
    assert poses[:, 0].tolist() == [[10, 20, 2]]


@every_reader
def test_people_with_an_unlisted_category_are_left_out_if_there_are_others(
    tmp_path: Path, read: Reader
) -> None:
    path = write(tmp_path, person(), person(category_id=9), categories=[{"id": 1, "name": "person"}])
    poses, messages = told(read, path)
    assert len(poses) == len(messages) == 1
    assert "must be that of a person, got 9 (in no category)" in messages[0]


@pytest.mark.parametrize("read", [by_predict, by_evaluate_and_train])
@pytest.mark.parametrize(("of_image", "of_person"), [("7", "7"), ("7", 7), (7, "7")])
def test_ids_may_be_strings(tmp_path: Path, read: Reader, of_image: int | str, of_person: int | str) -> None:
    images = [{"id": of_image, "file_name": "one.png", "height": 40, "width": 30}]
    categories = [{"id": "1", "name": "person"}]
    people = [person(id="a0", image_id=of_person), person(id=None, image_id=of_person, category_id="1")]
    assert len(read(write(tmp_path, *people, images=images, categories=categories))) == 2


@every_reader
def test_an_annotation_with_a_fault_is_left_out(tmp_path: Path, read: Reader) -> None:
    faulty = [person(keypoints=[*POSE[:-1], visibility]) for visibility in (0.83, 3)]
    short = person(keypoints=POSE[:-1])
    poses, messages = told(read, write(tmp_path, *faulty, person(), short))
    assert poses.reshape(-1).tolist() == POSE
    assert messages == [
        'annotations[0] (id 70) is left out: visibility in "keypoints" must be 0, 1 or 2, '
        "got 0.83 of right_ankle (and 1 more of this kind)",
        'annotations[3] (id 73) is left out: "keypoints" must be 51 numbers, got 50',
    ]


@every_reader
def test_a_fault_of_all_annotations_is_an_error(tmp_path: Path, read: Reader) -> None:
    faulty = person(keypoints=[*POSE[:-1], 0.83])
    with pytest.raises(InputError, match=r"annotations\[0\]: visibility .* got 0.83 of right_ankle$"):
        read(write(tmp_path, faulty, faulty))


def test_a_result_with_a_fault_is_left_out(tmp_path: Path) -> None:
    results = [{"image_id": "one", "keypoints": POSE, "score": score} for score in (1, None, 0.5)]
    path = write(tmp_path)
    path.write_text(json.dumps(results))
    poses, messages = told(by_predict, path)
    assert len(poses) == 2
    message = 'annotations.json[1] is left out: "score" must be finite in float32, got nothing'
    assert messages == [f"{tmp_path}/{message}"]


@pytest.mark.parametrize("read", [by_predict, by_evaluate_and_train])
def test_an_annotation_without_an_image_is_left_out(tmp_path: Path, read: Reader) -> None:
    poses, messages = told(read, write(tmp_path, person(), person(image_id=9)))
    assert len(poses) == 1
    assert messages == ['annotations[1] (id 71) is left out: "image_id" must be the id of an image, got 9']


@pytest.mark.parametrize("read", [by_predict, by_evaluate_and_train])
def test_a_repeated_record_of_an_image_is_used_once(tmp_path: Path, read: Reader) -> None:
    image = {"id": 7, "file_name": "one.png", "height": 40, "width": 30}
    assert len(read(write(tmp_path, person(), images=[image, image]))) == 1
    with pytest.raises(InputError, match=r'images\[1\]: another image has this "id" too, 7'):
        read(write(tmp_path, person(), images=[image, image | {"file_name": "other.png"}]))


@pytest.mark.parametrize("fault", [{"height": -1}, {"height": None}, {"file_name": "../x"}, {"width": 2**40}])
def test_a_fault_of_an_image_matters_if_it_has_people(tmp_path: Path, fault: dict[str, Any]) -> None:
    images = [{"id": i, "file_name": "one.png", "height": 40, "width": 30} for i in (7, 8)]
    images[1].update(fault)
    poses, messages = told(by_evaluate_and_train, write(tmp_path, person(), images=images))
    assert len(poses) == len(messages) == 1
    assert messages[0].startswith("images[1] (id 8) is left out: ")
    with pytest.raises(InputError, match=r"images\[1\]( \(id 8\))?: "):
        by_evaluate_and_train(write(tmp_path, person(image_id=8), images=images))


@every_reader
def test_people_marked_as_crowds_are_used_if_all_are(tmp_path: Path, read: Reader) -> None:
    """datumaro sets "iscrowd" for everybody whose mask was painted."""
    poses, messages = told(read, write(tmp_path, person(iscrowd=1), person(iscrowd=1)))
    assert len(poses) == 2
    remark = 'is used as a person, because everybody is marked "iscrowd" (and 1 more of this kind)'
    assert messages == [f"annotations[0] (id 70): {remark}"]
    poses, messages = told(read, write(tmp_path, person(iscrowd=1), person()))
    assert len(poses) == 1
    assert messages == ['annotations[0] (id 70) is left out: it has joints, but is marked "iscrowd"']
