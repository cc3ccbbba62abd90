import json
import pickle
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from pose2seg import InputError
from pose2seg.common.gone import version_of
from pose2seg.data.dataset import DatasetWarning, PersonImage, read_dataset
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from shared_data import real_images, shared_path

SQUARE = [[4, 4, 12, 4, 12, 12, 4, 12]]
POSE = [10.0, 20.0, 2] * 16 + [0, 0, 0]
MASK = np.zeros((40, 30), np.uint8)
MASK[5:9, 3:12] = MASK[20:22, :] = 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images" / "a").mkdir(parents=True)
    for name in ("a/one.png", "two.png"):
        cv2.imwrite(str(tmp_path / "images" / name), np.full((40, 30, 3), 90, np.uint8))
    return tmp_path


def person(**changes: Any) -> dict[str, Any]:
    return {
        "image_id": 7,
        "category_id": 1,
        "keypoints": POSE,
        "segmentation": SQUARE,
        "iscrowd": 0,
    } | changes


def write(folder: Path, *people: dict[str, Any], **changes: Any) -> Path:
    images = [{"id": 7, "file_name": "a/one.png"}, {"id": 8, "file_name": "two.png"}]
    content = {
        "images": [{"height": 40, "width": 30, **image} for image in images],
        "annotations": [{"id": 70 + i, **p} for i, p in enumerate(people)],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content | changes))
    return path


def read(folder: Path, *people: dict[str, Any], **changes: Any) -> list[PersonImage]:
    return read_dataset(write(folder, *people, **changes), folder / "images")


def compressed(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    pixels = np.concatenate([[0], mask.ravel(order="F"), [2]])
    changes = np.flatnonzero(np.diff(pixels[1:-1], prepend=0, append=2))
    return {"size": list(mask.shape), "counts": np.diff(changes, prepend=0).tolist()}


def test_people_with_joints_and_a_mask_are_read(folder: Path) -> None:
    left_out: list[dict[str, Any]] = [
        {"iscrowd": 1, "keypoints": []},
        {"keypoints": [0, 0, 0] * 17},
        {"keypoints": []},
        {"segmentation": []},
    ]
    people = [person(**changes) for changes in left_out]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (image,) = read(folder, *people, person(area=9.5, bbox=[1, 2, 3, 4]))
    assert (image.image_id, image.path, image.size) == (7, folder / "images/a/one.png", (40, 30))
    (found,) = image.people
    assert (found.annotation_id, found.area, found.box) == (74, 9.5, (1, 2, 3, 4))
    np.testing.assert_array_equal(found.keypoints, np.array(POSE, np.float32).reshape(17, 3))
    assert image.read().shape == (40, 30, 3)


@pytest.mark.parametrize("encode", [compressed, uncompressed])
def test_run_lengths_are_read(folder: Path, encode: Any) -> None:
    (image,) = read(folder, person(segmentation=encode(MASK)))
    np.testing.assert_array_equal(image.masks, MASK[None])
    assert image.people[0].area == MASK.sum()
    assert image.people[0].box == (0, 5, 30, 17)


@pytest.mark.parametrize("seed", range(20))
def test_any_run_lengths_are_read(folder: Path, seed: int) -> None:
    mask = (np.random.default_rng(seed).random((40, 30)) < 0.01 + seed / 20).astype(np.uint8)
    mask[3, 4] = 1
    people = [person(segmentation=encode(mask)) for encode in (compressed, uncompressed)]
    (image,) = read(folder, *people)
    np.testing.assert_array_equal(image.masks, np.stack([mask, mask]))


def test_polygons_are_those_of_pycocotools(folder: Path) -> None:
    polygons = [[4.5, 4, 12, 4, 12.2, 31], [20, 20, 40, 20, 25, 33.3, 21, 30]]
    (image,) = read(folder, person(segmentation=polygons))
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 40, 30)))
    np.testing.assert_array_equal(image.masks[0], expected)


def test_joints_of_other_skeletons_are_found_by_their_names(folder: Path) -> None:
    crowdpose = ["left_shoulder", "right_shoulder", "head", "neck"]
    category = {"id": 1, "name": "person", "keypoints": crowdpose, "skeleton": []}
    people = [
        person(keypoints=[1, 2, 2, 3, 4, 1, 5, 6, 2, 7, 8, 2]),
        person(keypoints=[0, 0, 0, 0, 0, 0, 5, 6, 2, 7, 8, 2]),
    ]
    (image,) = read(folder, *people, categories=[category])
    (found,) = image.people  # the other person has no joint of COCO
    assert found.keypoints[[5, 6]].tolist() == [[1, 2, 2], [3, 4, 1]]
    assert not np.delete(found.keypoints, (5, 6), axis=0).any()


def test_records_can_be_sent_to_other_processes(folder: Path) -> None:
    (image,) = read(folder, person())
    copy = pickle.loads(pickle.dumps(image))
    assert (copy.image_id, copy.path, copy.size) == (image.image_id, image.path, image.size)
    np.testing.assert_array_equal(copy.masks, image.masks)


def test_real_datasets_agree_with_pycocotools() -> None:
    coco = COCO(str(shared_path("data/coco_persons/val.json")))
    dataset = real_images()
    assert (len(dataset), sum(len(image.people) for image in dataset)) == (100, 447)
    for image in dataset:
        expected = coco.loadAnns(coco.getAnnIds(imgIds=image.image_id, iscrowd=False))
        expected = [annotation for annotation in expected if annotation["num_keypoints"] > 0]
        assert [p.annotation_id for p in image.people] == [a["id"] for a in expected]
        assert [(p.area, list(p.box)) for p in image.people] == [(a["area"], a["bbox"]) for a in expected]
        np.testing.assert_array_equal(image.masks, [coco.annToMask(a) for a in expected])
        np.testing.assert_array_equal(image.keypoints.reshape(-1, 51), [a["keypoints"] for a in expected])
    image = dataset[0]
    assert image.read().shape == (*image.size, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"segmentation": [[1, 1, 5, 5]]},
            r'"segmentation"\[0\] must be x, y of at least three points, got 4 numbers',
        ),
        (
            {"segmentation": [*SQUARE, [1, 1, 5, 5, 9, 9, 3]]},
            r'"segmentation"\[1\] must be .*, got 7 numbers',
        ),
        ({"segmentation": [3]}, r'"segmentation"\[0\] must be .*, got 3'),
        ({"segmentation": [[1, 1, 5, 5], [1, 1]]}, r'"segmentation"\[0\] must be .*, got 4 numbers'),
        ({"segmentation": [[1, 1, 5, "5", 9, 9]]}, r"""\[0\] must be finite in float32, got '5'"""),
        ({"segmentation": [[1, 1, 5, 1e9, 9, 9]]}, r"\[0\] is far outside of the image: 1000000000.0"),
        ({"segmentation": [[1, 1, 1, 1, 1, 1]]}, '"segmentation" covers no pixel'),
        ({"segmentation": 7}, '"segmentation" must be polygons or run lengths, got 7'),
        ({"segmentation": compressed(MASK.T)}, r'"segmentation" must be of size \[40, 30\], got \[30, 40\]'),
        (
            {"segmentation": compressed(MASK) | {"counts": 3}},
            '"counts" .* must be a string or integers, got 3',
        ),
        ({"segmentation": compressed(MASK) | {"counts": [1.5]}}, '"counts" .* must be a string or integers'),
        ({"segmentation": compressed(MASK) | {"counts": "é"}}, '"counts" .* must be a string or integers'),
        (
            {"segmentation": compressed(MASK) | {"counts": "zzzz~~~~"}},
            '"counts" .* must cover each of 40 x 30 pixels once',
        ),
        (
            {"segmentation": {"size": [40, 30], "counts": [7, 3]}},
            '"counts" .* must cover each of 40 x 30 pixels once',
        ),
        (
            {"segmentation": {"size": [40, 30], "counts": [2400, -1200]}},
            '"counts" .* must cover each of 40 x 30 pixels once',
        ),
        ({"segmentation": {"size": [40, 30], "counts": [1200]}}, '"segmentation" covers no pixel'),
        *(
            ({"segmentation": wrong}, f'"segmentation" must be polygons or run lengths, got {wrong!r}')
            for wrong in (0, False, "")
        ),
        ({"segmentation": {}}, '"segmentation" must be of size .*, got nothing'),
    ],
)
def test_a_mask_that_cannot_be_used_is_left_out_with_a_warning(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.warns(
        DatasetWarning, match=rf"annotations\[1\] \(id 71\) is left out: .*{message}"
    ) as caught:
        (image,) = read(folder, person(), person(**changes), person())
    assert len(caught) == 1
    assert [p.annotation_id for p in image.people] == [70, 72]


@pytest.mark.parametrize("specks", [[[]], [[5, 5]], [[1, 1, 5, 5], [], [7, 7]]])
def test_specks_next_to_an_outline_are_left_out(folder: Path, specks: list[list[int]]) -> None:
    people = [person(segmentation=[*specks, *SQUARE]), person(), person(segmentation=[*SQUARE, *specks])]
    with pytest.warns(DatasetWarning) as caught:
        (image,) = read(folder, *people)
    (message,) = [str(each.message) for each in caught if each.category is DatasetWarning]
    count = "1 polygon" if len(specks) == 1 else "3 polygons"
    assert f"annotations[0] (id 70): {count} of fewer than three points in" in message
    assert message.endswith("left out (and 1 more of this kind)")
    assert [p.annotation_id for p in image.people] == [70, 71, 72]
    np.testing.assert_array_equal(image.masks[[0, 2]], image.masks[[1, 1]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"area": -5}, '"area" must be from 0 to 1073741824 pixels, got -5'),
        ({"area": 1e11}, '"area" must be from 0 to 1073741824 pixels, got 1000'),
        ({"area": float("nan")}, '"area" must be finite in float32, got nan'),
        ({"area": "large"}, """"area" must be finite in float32, got 'large'"""),
        ({"bbox": [1, 2]}, '"bbox" must be 4 numbers, got 2'),
        ({"bbox": [1, 2, 3, 0]}, '"bbox" must have a width and a height above 0'),
        ({"bbox": [1, 2, -3, 4]}, '"bbox" must have a width and a height above 0'),
    ],
)
def test_an_impossible_area_or_box_is_replaced_by_that_of_the_mask(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    where = r"annotations\[1\] \(id 71\): "
    with pytest.warns(DatasetWarning, match=f"{where}{message}.*; that of the mask is taken$") as caught:
        (image,) = read(folder, person(), person(**changes))
    assert len(caught) == 1
    expected, found = image.people
    assert (found.area, found.box) == (expected.area, expected.box) == (64, (4, 4, 8, 8))


@pytest.mark.parametrize("nothing", [{"area": None}, {"bbox": None}, {"bbox": []}])
def test_a_missing_area_or_box_is_that_of_the_mask(folder: Path, nothing: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DatasetWarning)
        (image,) = read(folder, person(**nothing))
    assert (image.people[0].area, image.people[0].box) == (64, (4, 4, 8, 8))


@pytest.mark.parametrize("cut", range(1, 8))
def test_truncated_run_lengths_are_left_out(folder: Path, cut: int) -> None:
    whole = compressed(MASK)
    with pytest.warns(
        DatasetWarning, match='"counts" in "segmentation" must cover each of 40 x 30 pixels once'
    ):
        read(folder, person(), person(segmentation=whole | {"counts": whole["counts"][:-cut]}))


def test_missing_images_are_left_out_with_a_warning(folder: Path) -> None:
    (folder / "images/a/one.png").unlink()
    with pytest.warns(DatasetWarning, match="a/one.png: no such file; image 7 is left out"):
        (image,) = read(folder, person(), person(image_id=8))
    assert image.image_id == 8


def test_a_folder_of_other_images_is_one_error(folder: Path) -> None:
    path = write(folder, person(), person(image_id=8))
    (folder / "other").mkdir()
    with pytest.raises(InputError, match=r"other: has none of the 2 images, such as .*other/a/one.png"):
        read_dataset(path, folder / "other")


@pytest.mark.parametrize("names", [("x/y/one.png", "z/two.png"), ("x\\one.png", "./no/two.png")])
def test_folders_that_do_not_exist_are_ignored(folder: Path, names: tuple[str, str]) -> None:
    (folder / "images/a/one.png").rename(folder / "images/one.png")
    images = [{"id": 7 + i, "file_name": name, "height": 40, "width": 30} for i, name in enumerate(names)]
    with pytest.warns(DatasetWarning) as caught:
        dataset = read(folder, person(), person(image_id=8), images=images)
    (message,) = [str(each.message) for each in caught if each.category is DatasetWarning]
    assert f"{folder}/images/one.png is used instead (and 1 more of this kind)" in message
    found = [folder / "images/one.png", folder / "images/two.png"]
    assert [(image.path, image.version) for image in dataset] == [(path, version_of(path)) for path in found]


def test_a_file_may_have_another_form_of_unicode(folder: Path) -> None:
    stored, listed = (unicodedata.normalize(form, "café.png") for form in ("NFD", "NFC"))
    (folder / "images/two.png").rename(folder / "images" / stored)
    images = [{"id": 8, "file_name": listed, "height": 40, "width": 30}]
    (image,) = read(folder, person(image_id=8), images=images)
    assert image.path == folder / "images" / stored
    assert image.version is not None


def test_a_name_of_two_images_is_not_used_without_folders(folder: Path) -> None:
    names = ("x/two.png", "y/two.png")
    images = [{"id": 7 + i, "file_name": name, "height": 40, "width": 30} for i, name in enumerate(names)]
    with pytest.raises(InputError, match=r"has none of the 1 images, such as .*/x/two.png"):
        read(folder, person(), images=images)


def test_remarks_are_reported_even_if_no_image_exists(folder: Path) -> None:
    images = [{"id": 7, "file_name": "other.png", "height": 40, "width": 30}]
    with (
        pytest.warns(DatasetWarning, match=r"annotations\[1\] .* is left out: "),
        pytest.raises(InputError, match="has none of the 1 images"),
    ):
        read(folder, person(), person(image_id=9), images=images)


@pytest.mark.parametrize("length", [252, 5000, 70_000])
def test_a_name_that_is_too_long_is_not_a_file(folder: Path, length: int) -> None:
    images = [
        {"id": 7, "file_name": "a" * length + ".png", "height": 40, "width": 30},
        {"id": 8, "file_name": "two.png", "height": 40, "width": 30},
    ]
    with pytest.warns(DatasetWarning, match=r"aaa.png: no such file; image 7 is left out$") as caught:
        (image,) = read(folder, person(), person(image_id=8), images=images)
    assert image.image_id == 8
    assert len(str(caught[0].message)) < 600
    with pytest.raises(InputError, match=r"has none of the 1 images, such as ") as raised:
        read(folder, person(), images=images)
    assert len(str(raised.value)) < 600


def halves(**changes: Any) -> list[dict[str, Any]]:
    """Returns a person whose joints and mask are in separate annotations."""
    whole = person(keypoints=[6, 6, 2] * 16 + [0, 0, 0], **changes)
    joints = {name: value for name, value in whole.items() if name != "segmentation"}
    mask = {name: value for name, value in whole.items() if name != "keypoints"}
    return [joints | {"bbox": [6, 6, 0, 0], "area": 0}, mask | {"category_id": 2, "iscrowd": 1, "area": 60}]


@pytest.mark.parametrize("names", [("person", "object"), ("pose", "Person"), ("pose", "shape")])
def test_joints_and_masks_in_separate_annotations_are_joined(folder: Path, names: tuple[str, str]) -> None:
    categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
    with pytest.warns(DatasetWarning) as caught:
        images = read(folder, *halves(), *halves(image_id=8), categories=categories)
    (message,) = [str(each.message) for each in caught if each.category is DatasetWarning]
    assert "annotations[0] (id 70) and " in message
    assert "[1] (id 71) are joined, as the joints and the mask of one person (and 1 more" in message
    assert [image.image_id for image in images] == [7, 8]
    (found,) = images[0].people
    assert (found.annotation_id, found.area, found.box) == (70, 60, (4, 4, 8, 8))
    assert found.keypoints[0].tolist() == [6, 6, 2]
    assert images[0].masks.sum() == 64


def test_joints_and_a_mask_of_possibly_two_people_are_not_joined(folder: Path) -> None:
    with pytest.warns(DatasetWarning, match=r"annotations\[0\] \(id 70\) is left out: no mask certainly"):
        (image,) = read(folder, *halves(), *halves(), *halves(image_id=8))
    assert image.image_id == 8
    found = (
        'found 2 annotations with a labelled joint in "keypoints", and 2 masks in "segmentation" of other '
        "annotations, none of which certainly belongs to the same person: put the joints and the mask of a person into one annotation$"
    )
    with pytest.raises(InputError, match=f"no image has a person with joints and a mask: {found}"):
        read(folder, *halves(), *halves())


@pytest.mark.parametrize(
    ("people", "found"),
    [
        ([], "found 0 annotations with a labelled joint .*, and 0 masks"),
        (
            [person(keypoints=[])],
            "found 0 annotations with .*, and 1 mask in .*; one file must have both$",
        ),
        ([person(segmentation=[])], "found 1 annotation with a labelled joint .*, and 0 masks"),
        (
            [person(segmentation=[[1, 1]])],
            "found 1 .*, and 1 mask in .*, but no usable mask of a person with joints",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::pose2seg.common.remarks.DatasetWarning")
def test_the_message_says_what_was_found_if_nobody_is_left(
    folder: Path, people: list[dict[str, Any]], found: str
) -> None:
    with pytest.raises(InputError, match=f"no image has a person with joints and a mask: {found}"):
        read(folder, *people)


@pytest.mark.filterwarnings("ignore::pose2seg.common.remarks.DatasetWarning")
@pytest.mark.parametrize("part", ["val", "train"])
def test_separated_joints_and_masks_of_real_people_are_joined_again(tmp_path: Path, part: str) -> None:
    annotations, images = (shared_path(f"data/coco_persons/{part}{end}") for end in (".json", ""))
    content = json.loads(annotations.read_text())
    masks = {a["id"]: {**a, "id": -a["id"], "keypoints": None} for a in content["annotations"]}
    joints = [{**a, "segmentation": []} for a in content["annotations"]]
    (tmp_path / "parts.json").write_text(json.dumps({**content, "annotations": [*joints, *masks.values()]}))
    whole = {p.annotation_id: p for image in read_dataset(annotations, images) for p in image.people}
    joined = [p for image in read_dataset(tmp_path / "parts.json", images) for p in image.people]
    wrong = sum(p.segmentation != whole[p.annotation_id].segmentation for p in joined)
    assert len(joined) > 0.94 * len(whole)
    assert wrong < 0.01 * len(whole)


@pytest.mark.parametrize(
    "name",
    ["../x.png", "/x.png", "a/../../x.png", r"..\x.png", "C:x.png", "//host/x.png", "x\0.png", "", "."],
)
def test_names_that_leave_the_folder_are_rejected(folder: Path, name: str) -> None:
    images = [{"id": 7, "file_name": name, "height": 40, "width": 30}]
    with pytest.raises(InputError, match=r'images\[0\] \(id 7\): "file_name" must stay in the folder'):
        read(folder, person(), images=images)


@pytest.mark.parametrize(
    ("people", "changes", "message"),
    [
        ([person(image_id=9)], {}, r"annotations\[0\]: \"image_id\" must be the id of an image, got 9"),
        ([person(keypoints=[1, 2])], {}, r'annotations\[0\]: "keypoints" must be 51 numbers, got 2'),
        ([person(keypoints=[1, 2, 5] * 17)], {}, r"annotations\[0\]: visibility .* must be 0, 1 or 2"),
        ([person(id=[])], {}, r'annotations\[0\]: "id" must be an integer or a string or absent, got \[\]'),
        ([], {"images": 3}, '"images" must be a list, got 3'),
        (
            [person()],
            {"images": [{"id": 7, "file_name": "x"}]},
            r'images\[0\]: "height" must be an integer, got nothing',
        ),
        (
            [person()],
            {"images": [{"id": 7, "file_name": "x", "height": 0, "width": 2**40}]},
            "no image is 1099511627776 x 0",
        ),
        (
            [person(segmentation={"size": [2**20, 2**20], "counts": [2**39, 2**39]})],
            {"images": [{"id": 7, "file_name": "a/one.png", "height": 2**20, "width": 2**20}]},
            "no image is 1048576 x 1048576",
        ),
        (
            [person(category_id=[1])],
            {},
            r'annotations\[0\]: "category_id" must be an integer or a string or absent',
        ),
        (
            [person()],
            {"categories": [{"id": 1, "keypoints": 1}]},
            r'categories\[0\]: "keypoints" must be a list or absent, got 1',
        ),
        ([], {}, "no image has a person with joints and a mask"),
    ],
)
def test_a_file_of_another_form_is_rejected(
    folder: Path, people: list[dict[str, Any]], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(folder, *people, **changes)


def test_a_list_of_results_is_rejected(folder: Path) -> None:
    (folder / "annotations.json").write_text("[]")
    with pytest.raises(InputError, match=r"expected COCO annotations \(an object\), got \[\]"):
        read_dataset(folder / "annotations.json", folder / "images")


def test_a_missing_folder_is_rejected(folder: Path) -> None:
    with pytest.raises(InputError, match="missing: no such folder of images"):
        read_dataset(write(folder, person()), folder / "missing")


def test_a_size_that_exif_rotates_is_explained(folder: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be displayed rotated by 90 degrees
    Pillow.new("RGB", (40, 30)).save(folder / "images/two.png", exif=exif)
    stored = {"id": 7, "file_name": "two.png", "height": 30, "width": 40}
    (image,) = read(folder, person(), images=[stored])
    message = "is 30 x 40, but annotated as 40 x 30, its size without its EXIF orientation: if the "
    with pytest.raises(InputError, match=message):
        image.read()
    (image,) = read(folder, person(), images=[stored | {"height": 40, "width": 30}])
    assert image.read().shape == (40, 30, 3)


@pytest.mark.parametrize("damage", ["cut off", "another size"])
def test_a_damaged_image_is_an_error_when_it_is_read(folder: Path, damage: str) -> None:
    (image,) = read(folder, person())
    if damage == "cut off":
        image.path.write_bytes(image.path.read_bytes()[:-30])
        message = "one.png: not an image that OpenCV can read"
    else:
        cv2.imwrite(str(image.path), np.zeros((4, 3, 3), np.uint8))
        message = "one.png: is 3 x 4, but annotated as 30 x 40"
    with pytest.raises(InputError, match=message):
        image.read()


def test_an_image_with_joints_that_are_not_in_pixels_is_left_out(folder: Path) -> None:
    outside = person(image_id=8, keypoints=[300.0, 20.0, 2] * 17)
    in_parts = person(image_id=8, keypoints=[0.5, 0.25, 2] * 17)
    for other, problem in ((outside, "outside of it"), (in_parts, "within 2 pixels of")):
        with pytest.warns(DatasetWarning, match=f"two.png: .* all joints are {problem}.*; it is left out"):
            (image,) = read(folder, person(), other)
        assert image.image_id == 7
        with pytest.raises(InputError, match=f"two.png: .* all joints are {problem}"):
            read(folder, other)
    both = read(folder, person(image_id=8), outside)  # a single person may be outside
    assert [len(image.people) for image in both] == [2]
