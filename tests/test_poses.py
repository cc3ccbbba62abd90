import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose2seg import InputError
from pose2seg.poses import read_poses
from pycocotools.coco import COCO
from shared_data import shared_path

POSE = [10.0, 20.0, 2] * 16 + [0, 0, 0]
NOBODY = [0, 0, 0] * 17


def annotations(*people: dict[str, Any]) -> dict[str, Any]:
    images = [
        {"id": 7, "file_name": "a/one.jpg", "height": 40, "width": 30},
        {"id": 8, "file_name": "two.jpg"},
    ]
    return {
        "images": images,
        "annotations": [{"id": 70 + i, "image_id": 7, **p} for i, p in enumerate(people)],
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "poses.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_annotations_of_people_with_labelled_joints_are_read(tmp_path: Path) -> None:
    keypoints = [1, 2, 1, *POSE[3:]]
    left_out: list[dict[str, Any]] = [{"keypoints": nothing} for nothing in (NOBODY, [], None)]
    left_out += [{"keypoints": POSE, "iscrowd": crowd} for crowd in (1, True)]
    poses = read_poses(write(tmp_path, annotations({}, *left_out, {"keypoints": keypoints, "iscrowd": 0})))
    one = poses.find(Path("somewhere/a/one.jpg"))
    assert one is not None
    assert (one.image_id, one.size) == (7, (40, 30))
    assert [p.annotation_id for p in one.people] == [76]
    assert one.people[0].score == 1
    np.testing.assert_array_equal(one.keypoints, np.array(keypoints, np.float32).reshape(1, 17, 3))
    two = poses.find(Path("two.jpg"))
    assert two is not None
    assert two.size is None
    assert two.keypoints.shape == (0, 17, 3)


def test_joints_of_other_skeletons_are_found_by_their_names(tmp_path: Path) -> None:
    content = annotations({"keypoints": [1, 2, 2, 3, 4, 1], "category_id": 5}, {"keypoints": POSE})
    content["categories"] = [{"id": 5, "keypoints": ["neck", "nose"]}]
    poses = read_poses(write(tmp_path, content)).find(Path("a/one.jpg"))
    assert poses is not None
    assert poses.keypoints[0, 0].tolist() == [3, 4, 1]
    assert not poses.keypoints[0, 1:].any()
    assert poses.keypoints[1].ravel().tolist() == POSE


@pytest.mark.parametrize("unknown", ["one.jpg", "b/one.jpg", "a/one.png", "a/xone.jpg", "xtwo.jpg"])
def test_the_path_of_an_annotated_image_ends_in_its_file_name(tmp_path: Path, unknown: str) -> None:
    assert read_poses(write(tmp_path, annotations())).find(Path(unknown)) is None


def test_of_two_images_of_the_same_name_the_longer_match_wins(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(("x.jpg", "a/x.jpg", "/b/a/x.jpg"))]
    poses = read_poses(write(tmp_path, {"images": images, "annotations": []}))
    found = [poses.find(Path(path)) for path in ("b/x.jpg", "a/x.jpg", "/b/a/x.jpg")]
    assert [image and image.image_id for image in found] == [0, 1, 2]


def test_a_file_name_may_begin_with_a_dot_and_a_slash(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "./a.png"}, {"id": 2, "file_name": "b//./c.png"}]
    poses = read_poses(write(tmp_path, {"images": images, "annotations": []}))
    found = [poses.find(Path(path)) for path in ("x/a.png", "b/c.png", "c.png")]
    assert [image and image.image_id for image in found] == [1, 2, None]


@pytest.mark.parametrize(
    ("image_id", "image"),
    [
        (785, "000000000785.jpg"),
        (785, "785.png"),
        ("000785", "000785.jpg"),
        ("000785.jpg", "000785.jpg"),
        ("a", "b/a.x"),
    ],
)
def test_results_are_found_by_the_name_of_the_image(tmp_path: Path, image_id: int | str, image: str) -> None:
    result = {"image_id": image_id, "category_id": 1, "keypoints": POSE, "score": 0.25}
    found = read_poses(write(tmp_path, [result])).find(Path(image))
    assert found is not None
    assert found.image_id == image_id
    assert [(p.score, p.annotation_id) for p in found.people] == [(0.25, None)]


def test_joints_of_results_are_visible_or_missing(tmp_path: Path) -> None:
    keypoints = [3, 4, 1, 5, 6, 0.3, 7, 8, 0, *POSE[9:]]
    found = read_poses(write(tmp_path, [{"image_id": 1, "keypoints": keypoints, "score": 1}])).find(
        Path("1.jpg")
    )
    assert found is not None
    assert found.keypoints[0, :4].tolist() == [[3, 4, 2], [5, 6, 2], [7, 8, 0], [10, 20, 2]]


def test_real_annotations_agree_with_pycocotools() -> None:
    path = shared_path("data/coco_persons/val.json")
    coco = COCO(str(path))
    poses = read_poses(path)
    people = 0
    for image in coco.loadImgs(coco.getImgIds()):
        expected = coco.loadAnns(coco.getAnnIds(imgIds=image["id"], iscrowd=False))
        expected = [a for a in expected if a["num_keypoints"] > 0]
        found = poses.find(Path(image["file_name"]))
        assert found is not None
        assert [p.annotation_id for p in found.people] == [a["id"] for a in expected]
        assert found.size == (image["height"], image["width"])
        keypoints = np.array([a["keypoints"] for a in expected], np.float32).reshape(-1, 17, 3)
        np.testing.assert_array_equal(found.keypoints, keypoints)
        people += len(expected)
    assert people == 447


HUGE = 10**400


NO_LISTS: list[Any] = [3, 0, False, "", {}]
NO_INTEGERS: list[Any] = ["0", "no", "", [], 1.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON: Expecting value at line 1, column 1"),
        ('{"images": [],\n "annotations" []}', "not JSON: Expecting ':' delimiter at line 2, column 16"),
        ("[" * 10**6, "not JSON that can be read: .*recursion"),
        ("7", "expected COCO annotations .* or results .*, got int"),
        ({"annotations": []}, '"images" must be a list, got nothing'),
        ({"images": {}, "annotations": []}, '"images" must be a list, got {}'),
        ({"images": [3], "annotations": []}, r"images\[0\] must be an object, got 3"),
        (
            {"images": [{"id": 1}], "annotations": []},
            r'images\[0\]: "file_name" must be a string, got nothing',
        ),
        (
            {"images": [{"id": 1.5}], "annotations": []},
            r'images\[0\]: "id" must be an integer or a string, got 1.5',
        ),
        (
            {"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []},
            r'images\[1\]: another image has this "id" too, 1',
        ),
        (
            {"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}], "annotations": []},
            r"""images\[1\]: another image has this "file_name" too, 'a'""",
        ),
        (annotations({"keypoints": POSE, "image_id": 9}), r"annotations\[0\]: no image has the id 9"),
        (
            annotations({"keypoints": POSE, "category_id": [1]}),
            r'annotations\[0\]: "category_id" must be an integer or a string or absent, got \[1\]',
        ),
        (
            annotations({}, {"keypoints": POSE[:-1]}),
            r'annotations\[1\]: "keypoints" must be 51 numbers, got 50',
        ),
        *(
            (
                annotations({"keypoints": wrong}),
                r'annotations\[0\]: "keypoints" must be a list or absent, got ',
            )
            for wrong in NO_LISTS
        ),
        *(
            (
                annotations({"keypoints": POSE, "iscrowd": wrong}),
                r'annotations\[0\]: "iscrowd" must be an integer or true or false or absent, got ',
            )
            for wrong in NO_INTEGERS
        ),
        (annotations({"keypoints": ["1"] * 51}), r"annotations\[0\]: .* must be finite in float32, got '1'"),
        (
            annotations({"keypoints": [1, 1, float("nan")] * 17}),
            r"annotations\[0\]: .* must be finite in float32, got nan",
        ),
        (
            annotations({"keypoints": [HUGE] * 51}),
            r"annotations\[0\]: .* must be finite in float32, got 1000",
        ),
        (annotations({"keypoints": [1, 1, 3] * 17}), r"annotations\[0\]: visibility .* must be 0, 1 or 2"),
        ([{"keypoints": POSE, "score": 1}], r'\[0\]: "image_id" must be an integer or a string, got nothing'),
        ([{"image_id": 1, "keypoints": POSE}], r'\[0\]: "score" must be finite in float32, got nothing'),
        ('[{"image_id": ' + "1" * 5000 + "}]", "not JSON that can be read: .*digits"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_poses(write(tmp_path, content))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "poses.json"
    path.write_bytes(b'"\xff"')
    with pytest.raises(InputError, match="not JSON: byte 1 is not UTF-8"):
        read_poses(path)
