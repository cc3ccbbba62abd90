import json
import unicodedata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pose2seg import InputError
from pose2seg.common.remarks import DatasetWarning
from pose2seg.data.poses import read_poses
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


def test_the_longer_match_wins_for_images_with_the_same_name(tmp_path: Path) -> None:
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


def results_of(folder: Path, *poses: list[float], **options: Any) -> list[list[list[float]]]:
    """Returns the joints of the people that are read from results of one image."""
    results = [{"image_id": 1, "keypoints": keypoints, "score": 1} for keypoints in poses]
    found = read_poses(write(folder, results), **options).find(Path("1.jpg"))
    assert found is not None
    joints: list[list[list[float]]] = found.keypoints.tolist()
    return joints


def with_thirds(*thirds: float) -> list[float]:
    """Returns a person whose first joints have these third numbers, and the others 0.9."""
    thirds = (*thirds, *[0.9] * (17 - len(thirds)))
    return [number for j, third in enumerate(thirds) for number in (10.0 + j, 20.0, third)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [2, 2, 0, 0, 0, 0]), ({"joint_threshold": 0.3}, [2, 2, 2, 0, 0, 0])]
    + [({"joint_threshold": least}, [2, 2, 2, 2, 2, 0]) for least in (0.01, 0, -1)],
)
def test_joints_of_results_need_a_confidence(
    tmp_path: Path, options: dict[str, float], expected: list[int]
) -> None:
    (person,) = results_of(tmp_path, with_thirds(1, 0.6, 0.3, 0.299, 0.02, 0), **options)
    assert person == [
        [10.0 + j, 20, 2] if visibility else [0, 0, 0] for j, visibility in enumerate([*expected, *[2] * 11])
    ]


def test_people_without_a_confident_joint_are_left_out(tmp_path: Path) -> None:
    assert len(results_of(tmp_path, with_thirds(), with_thirds(*[0.02] * 17))) == 1


def test_confidences_of_another_scale_are_rejected(tmp_path: Path) -> None:
    """Detectron2's confidences are those of a softmax."""
    shares = with_thirds(*[0.125] * 17)
    with pytest.raises(
        InputError,
        match=r"poses.json: a joint must have a confidence of at least 0\.6, the highest is 0\.125",
    ):
        results_of(tmp_path, shares)
    assert len(results_of(tmp_path, shares, joint_threshold=0.05)) == 1


@pytest.mark.parametrize(("sure", "guessed", "threshold"), [(90.0, 2.0, 50), (9.5, 1.2, 2)])
def test_confidences_far_above_1_are_rejected(
    tmp_path: Path, sure: float, guessed: float, threshold: float
) -> None:
    """In percentages and logits, guessed joints are above 0.6 as well."""
    pose = with_thirds(guessed, *[sure] * 16)
    with pytest.raises(InputError, match=f"confidences must be from 0 to 1, the highest is {sure:g}: .*"):
        results_of(tmp_path, pose)
    ((nose, *others),) = results_of(tmp_path, pose, joint_threshold=threshold)
    assert nose == [0, 0, 0]
    assert all(visibility == 2 for _, _, visibility in others)


def test_a_peak_slightly_above_1_is_a_confidence(tmp_path: Path) -> None:
    assert len(results_of(tmp_path, with_thirds(1.07))) == 1


def test_repeated_results_are_used_once(tmp_path: Path) -> None:
    with pytest.warns(DatasetWarning, match=r"json\[2\] is left out: it is equal to .*json\[0\]$"):
        assert len(results_of(tmp_path, with_thirds(), with_thirds(0.7), with_thirds())) == 2


def test_results_of_several_categories_are_reported(tmp_path: Path) -> None:
    results = [{"image_id": 1, "category_id": i, "keypoints": [*POSE[:2], i, *POSE[3:]]} for i in (1, 17)]
    path = write(tmp_path, [{**result, "score": 1} for result in results])
    with pytest.warns(DatasetWarning, match="several categories are all read as people: .* 1, 17$"):
        read_poses(path, 0.5)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_the_same_in_both_forms_of_unicode(
    tmp_path: Path, forms: tuple[Literal["NFC", "NFD"], ...]
) -> None:
    listed, stored = (unicodedata.normalize(form, "café") for form in forms)
    content = annotations({"keypoints": POSE})
    content["images"][0]["file_name"] = f"{listed}/{listed}.jpg"
    image = tmp_path / stored / f"{stored}.jpg"
    for poses in (content, [{"image_id": listed, "keypoints": POSE, "score": 1}]):
        file = read_poses(write(tmp_path, poses))
        assert file.image_id(image) is not None
        assert file.without_folders().image_id(image) is not None
    assert read_poses(write(tmp_path, content)).names_file(image)


def test_ids_and_sizes_may_be_written_as_whole_floats(tmp_path: Path) -> None:
    """pandas does so for columns with missing numbers."""
    content = annotations({"keypoints": POSE, "track_id": 3.0, "iscrowd": 0.0, "image_id": 7.0, "id": 70.0})
    content["images"][0] |= {"id": 7.0, "height": 40.0, "width": 30.0}
    poses = read_poses(write(tmp_path, content)).find(Path("a/one.jpg"))
    assert poses is not None
    person = poses.people[0]
    ids = poses.image_id, poses.size, person.annotation_id, person.track_id
    assert repr(ids) == "(7, (40, 30), 70, 3)"


def test_joints_may_be_lists(tmp_path: Path) -> None:
    flat = with_thirds(0.7)
    nested: Any = [flat[i : i + 3] for i in range(0, len(flat), 3)]
    assert results_of(tmp_path, nested) == results_of(tmp_path, flat)
    with pytest.raises(InputError, match="must be 51 numbers, or 17 lists of 3, got 17"):
        results_of(tmp_path, nested[:16] + nested[0][:1])


def test_results_with_flags_are_read_like_annotations(tmp_path: Path) -> None:
    first, second = results_of(tmp_path, with_thirds(2, 1, 0, *[2] * 14), with_thirds(*[1] * 17))
    assert [joint[2] for joint in first] == [2, 1, 0, *[2] * 14]
    assert [joint[2] for joint in second] == [1] * 17
    (same,) = results_of(tmp_path, with_thirds(*[1] * 17))  # the detector is certain
    assert [joint[2] for joint in same] == [2] * 17


@pytest.mark.parametrize("third", [1, 2, 0.87])
def test_a_joint_at_the_origin_is_missing_whatever_its_third_number(tmp_path: Path, third: float) -> None:
    keypoints = [0, 0, third, 0, 5, third, *with_thirds(*[2] * 17)[6:]]
    (person,) = results_of(tmp_path, keypoints)
    assert person[:2] == [[0, 0, 0], [0, 5, third if third == 1 else 2]]
    if third in (1, 2):
        content = annotations({"keypoints": keypoints})
        found = read_poses(write(tmp_path, content)).find(Path("a/one.jpg"))
        assert found is not None
        assert found.keypoints[0, :2].tolist() == [[0, 0, 0], [0, 5, third]]


def test_in_annotations_without_2_a_1_is_visible(tmp_path: Path) -> None:
    """This is decided for the whole file: the second person of the second file has only occluded joints."""
    ones = {"keypoints": [0, 0, 0, *[3, 4, 1] * 16]}
    with pytest.warns(DatasetWarning, match=r"poses.json: no joint has visibility 2; 1 is read as visible"):
        found = read_poses(write(tmp_path, annotations(ones, ones))).find(Path("a/one.jpg"))
    assert found is not None
    assert found.keypoints[:, :, 2].tolist() == [[0, *[2] * 16]] * 2
    found = read_poses(write(tmp_path, annotations({"keypoints": POSE}, ones))).find(Path("a/one.jpg"))
    assert found is not None
    assert found.keypoints[1, :, 2].tolist() == [0, *[1] * 16]
    crowd = {"keypoints": POSE, "iscrowd": 1}  # not read, but it shows what 1 means
    found = read_poses(write(tmp_path, annotations(ones, crowd))).find(Path("a/one.jpg"))
    assert found is not None
    assert found.keypoints[0, :, 2].tolist() == [0, *[1] * 16]


def test_tracks_are_read(tmp_path: Path) -> None:
    of_results = [
        {"image_id": 1, "keypoints": POSE, "score": 1, **track}
        for track in ({"track_id": 7}, {}, {"track_id": "a"})
    ]
    found = read_poses(write(tmp_path, of_results)).find(Path("1.jpg"))
    assert found is not None
    assert [person.track_id for person in found.people] == [7, None, None]
    found = read_poses(write(tmp_path, annotations({"keypoints": POSE, "track_id": 3}))).find(
        Path("a/one.jpg")
    )
    assert found is not None
    assert found.people[0].track_id == 3


def test_annotations_have_no_joint_threshold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"poses.json: annotations have no confidences.*--joint-threshold"):
        read_poses(write(tmp_path, annotations()), 0.5)


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
NO_INTEGERS: list[Any] = ["0", "no", "", [], 1.5]


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
        (
            annotations({"keypoints": POSE, "image_id": 9}),
            r"annotations\[0\]: \"image_id\" must be the id of an image, got 9",
        ),
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
        ([{"keypoints": POSE, "score": 1}], "contains the people of one image, but not its name"),
        ({"a.jpg": {"people": []}}, r"expected COCO annotations \(an object with .*\), got {'a.jpg'"),
        ([{"image_id": 1, "keypoints": POSE}], r'\[0\]: "score" must be finite in float32, got nothing'),
        ('[{"image_id": ' + "1" * 5000 + "}]", "not JSON that can be read: .*digits"),
    ],
)
def test_a_file_of_another_form_is_rejected(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_poses(write(tmp_path, content))


def test_a_file_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "poses.json"
    path.write_bytes(b'"\xff"')
    with pytest.raises(InputError, match="not JSON: byte 1 is not UTF-8"):
        read_poses(path)
