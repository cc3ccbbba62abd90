import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from image_folder import make_images, pose
from pose2seg import InputError, Pose2Seg
from pose2seg.common.gone import version_of
from pose2seg.common.images import read_image
from pose2seg.data.dataset import DatasetWarning
from pose2seg.data.posed_images import PosedImage, find_images, read_posed_image
from pose2seg.data.poses import ImagePoses, Person, PoseFile, open_poses, read_poses
from pose2seg.prediction.outputs import Overlays, Report
from pose2seg.prediction.predict import Prediction, predict_to_file
from pose2seg.prediction.results import to_coco_results
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from small_model import small_model

from pose2seg_ops import encode_rle


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    torch.manual_seed(0)
    return small_model(torch.ones(1, 17, 3)).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_images(tmp_path)
    return tmp_path


def names(found: list[PosedImage]) -> list[str]:
    return [image.path.name for image in found]


def test_a_folder_stands_for_its_images_with_poses(folder: Path) -> None:
    found, unknown = find_images([folder / "images"], read_poses(folder / "poses.json"))
    assert names(found) == ["0.png", "1.png", "2.png"]
    assert [path.name for path in unknown] == ["3.png"]


def test_images_given_twice_are_predicted_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    images = folder / "images"
    again = Path("images/../images")
    (folder / "linked").symlink_to(images)
    inputs = [again / "1.png", images, images / "1.png", Path("images"), folder / "linked"]
    found, unknown = find_images(inputs, read_poses(folder / "poses.json"))
    assert [image.path for image in found] == [
        again / "1.png",
        images / "0.png",
        images / "2.png",
    ]
    assert unknown == [images / "3.png"]


def test_different_images_with_the_same_name_are_rejected(folder: Path) -> None:
    poses = read_poses(folder / "poses.json")
    images, copies = folder / "images", folder / "copies"
    copies.mkdir()
    (copies / "1.png").write_bytes((images / "1.png").read_bytes())
    with pytest.raises(InputError) as raised:
        find_images([images, copies], poses)
    assert str(raised.value) == (f"{images / '1.png'} and {copies / '1.png'} are both image 11 of the poses")


@pytest.mark.parametrize(
    "names", [["x/0.png", "x/1.png"], [r"C:\x\0.png", r"C:\x\1.png"], ["x/0.png", "y/1.png"]]
)
def test_listed_folders_are_ignored_if_no_image_is_in_one(folder: Path, names: list[str]) -> None:
    poses = read_poses(folder / "poses.json")
    listed = PoseFile(
        {name: ImagePoses(i) for i, name in enumerate([*names, "x/2.png", "y/2.png"])}, poses.names
    )
    with pytest.warns(
        DatasetWarning, match=r"/0.png: found by the file name alone, .* \(and 1 more\)$"
    ) as caught:
        found, unknown = find_images([folder / "images"], listed)
    assert len(caught) == 1
    assert [(each.image_id, each.path.name) for each in found] == [(0, "0.png"), (1, "1.png")]
    assert [each.version for each in found] == [version_of(each.path) for each in found]
    assert [path.name for path in unknown] == ["2.png", "3.png"], "two are called 2.png"


def test_listed_folders_are_used_if_an_image_is_in_one(folder: Path) -> None:
    poses = read_poses(folder / "poses.json")
    listed = PoseFile({"images/0.png": ImagePoses(0), "x/1.png": ImagePoses(1)}, poses.names)
    found, _ = find_images([folder / "images"], listed)
    assert [each.image_id for each in found] == [0]


def test_inputs_that_cannot_be_used_are_named(folder: Path) -> None:
    poses = read_poses(folder / "poses.json")
    with pytest.raises(InputError, match=r"missing: no such file or folder"):
        find_images([folder / "missing"], poses)
    with pytest.raises(InputError, match=r"3.png: the poses do not list this image"):
        find_images([folder / "images" / "3.png"], poses)
    others = PoseFile({"x/other.png": ImagePoses(1)}, poses.names)
    message = r"the poses list none of the 4 images found, such as .*/0.png; they list 'x/other.png'$"
    with pytest.raises(InputError, match=message):
        find_images([folder / "images"], others)
    (folder / "openpose").mkdir()
    (folder / "openpose/frame_keypoints.json").write_text("{}")
    with pytest.raises(InputError, match=r"0.png: .* list this image; they list 'frame_keypoints.json'$"):
        find_images([folder / "images/0.png"], open_poses(folder / "openpose"))
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"no images found in .*empty"):
        find_images([folder / "empty"], poses)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_masks_are_those_of_the_model_with_their_ids(model: Pose2Seg, folder: Path, batch_size: int) -> None:
    found, _ = find_images([folder / "images"], read_poses(folder / "poses.json"))
    output = folder / "results" / "masks.json"
    assert predict_to_file(model, found, output, batch_size=batch_size) == Prediction(3, 3, 0, 0)

    results = json.loads(output.read_text())
    assert [(r["image_id"], r["annotation_id"], r["category_id"], r["score"]) for r in results] == [
        (10, 101, 1, 1.0),
        (11, 100, 1, 1.0),
        (11, 102, 1, 1.0),
    ]
    images = [read_image(image.path) for image in found]
    expected = model.predict(images, [read_posed_image(image).poses.keypoints for image in found])
    for result, mask in zip(results, [m for masks in expected for m in masks.numpy()], strict=True):
        decoded = coco_mask.decode(result["segmentation"]).astype(bool)
        assert decoded.shape == mask.shape
        assert (decoded != mask).mean() <= 1e-3

    coco = COCO(str(folder / "poses.json"))
    assert len(coco.loadRes(str(output)).getAnnIds(imgIds=[11])) == 2


def test_masks_survive_the_encoding() -> None:
    masks = torch.from_numpy(np.random.default_rng(0).random((3, 13, 7)) < 0.5)
    poses = ImagePoses(
        "x", people=[Person(np.zeros((17, 3), np.float32), score) for score in (0.5, 0.25, 1.0)]
    )
    results = list(to_coco_results(poses, encode_rle(masks), [0.123456, 0.5, 1.0]))
    assert [(r["image_id"], r["score"], r["quality"], "annotation_id" in r) for r in results] == [
        ("x", 0.5, 0.1235, False),
        ("x", 0.25, 0.5, False),
        ("x", 1.0, 1.0, False),
    ]
    for result, mask in zip(results, masks, strict=True):
        np.testing.assert_array_equal(coco_mask.decode(json.loads(json.dumps(result))["segmentation"]), mask)


def test_overlays_are_images_with_masks(model: Pose2Seg, folder: Path) -> None:
    found, _ = find_images([folder / "images"], read_poses(folder / "poses.json"))
    predict_to_file(model, found, folder / "masks.json", beside=[Overlays(folder / "deep" / "overlays")])
    overlays = sorted((folder / "deep" / "overlays").iterdir())
    assert [path.name for path in overlays] == ["0.png", "1.png", "2.png"]
    for image, overlay in zip(found, overlays, strict=True):
        before, after = read_image(image.path), read_image(overlay)
        assert before.shape == after.shape
        assert (before != after).any() == bool(read_posed_image(image).poses.people)


def test_the_report_shows_every_image_with_its_people(model: Pose2Seg, folder: Path) -> None:
    found, _ = find_images([folder / "images"], read_poses(folder / "poses.json"))
    output, report = folder / "masks.json", folder / "deep" / "page.html"
    inputs = {"poses": folder / "poses.json", "templates": None}
    predict_to_file(
        model, found, output, beside=[Report(report)], batch_size=2, threshold=0.25, inputs=inputs
    )
    articles = report.read_text().split("<article")[1:]
    assert "\N{MIDDLE DOT} poses: poses.json \N{MIDDLE DOT} threshold 0.25" in articles[-1]
    masks = [result["segmentation"] for result in json.loads(output.read_text())]
    areas = [f"{coco_mask.area(mask):,} pixels" for mask in masks]
    for article, name, expected in zip(
        articles, ("0.png", "1.png", "2.png"), (areas[:1], areas[1:], []), strict=True
    ):
        assert f"<bdi>{name}</bdi>" in article
        assert re.findall(r'class="area">(.*?)<', article) == expected
        assert re.search(r"\N{MIDDLE DOT} masks [\d.]+\s(ms|s)", article)


@pytest.mark.parametrize("name", ["a.jp2", "b.PPM", "c"])
def test_a_listed_image_in_a_folder_may_have_any_suffix(folder: Path, name: str) -> None:
    poses = {
        "annotations": {"images": [{"id": 1, "file_name": name}], "annotations": []},
        "results": [{"image_id": name, "keypoints": pose(1, 1), "score": 1}],
    }
    for other in (name, f"{Path(name).stem}.txt", "notes"):
        (folder / "images" / other).touch()
    (folder / "images" / "1").mkdir()  # by its name, image 1
    for content in poses.values():
        (folder / "other.json").write_text(json.dumps(content))
        found, _ = find_images([folder / "images"], read_poses(folder / "other.json"))
        assert names(found) == [name]


def test_an_overlay_that_cannot_be_written_does_not_prevent_the_masks(model: Pose2Seg, folder: Path) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(("wide.png", "x" * 255, "0.png"), 1)]
    people = [{"id": i, "image_id": i, "keypoints": pose(1, 1)} for i in (1, 2, 3)]
    (folder / "poses.json").write_text(json.dumps({"images": images, "annotations": people}))
    wide, long, good = (folder / "images" / str(image["file_name"]) for image in images)
    wide.write_bytes(cv2.imencode(".bmp", np.zeros((1, 1_040_000, 3), np.uint8))[1].tobytes())
    long.write_bytes(good.read_bytes())
    found, _ = find_images([wide, long, good], read_poses(folder / "poses.json"))
    with pytest.warns(DatasetWarning) as caught:
        prediction = predict_to_file(
            model, found, folder / "masks.json", beside=[Overlays(folder / "overlays")]
        )
    assert prediction == Prediction(masks=3, images=3, left_out=0, done_before=0)
    first, second = (str(each.message) for each in caught if each.category is DatasetWarning)
    assert "an image of 1040000 x 1 pixels cannot be a PNG; " in first
    assert first.endswith("wide.png has masks, but no overlay")
    assert "x.png: File name too long; " in second
    assert [path.name for path in (folder / "overlays").iterdir()] == ["0.png"]


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_a_file_that_is_not_an_image_is_left_out(model: Pose2Seg, folder: Path, content: bytes) -> None:
    (folder / "images/1.png").write_bytes(content)
    found, _ = find_images([folder / "images"], read_poses(folder / "poses.json"))
    with pytest.warns(DatasetWarning, match=r"1.png: not an image that OpenCV can read; it is left out$"):
        assert predict_to_file(model, found, folder / "masks.json") == Prediction(1, 2, 1, 0)
    assert [result["image_id"] for result in json.loads((folder / "masks.json").read_text())] == [10]


def test_images_without_the_size_of_their_poses_are_left_out(model: Pose2Seg, folder: Path) -> None:
    cv2.imwrite(str(folder / "images/1.png"), np.zeros((25, 15, 3), np.uint8))
    found, _ = find_images([folder / "images"], read_poses(folder / "poses.json"))
    with pytest.warns(DatasetWarning, match=r"1.png: is 15 x 25, but its poses are for 30 x 50; it is left"):
        assert predict_to_file(model, found, folder / "masks.json") == Prediction(1, 2, 1, 0)


def test_images_whose_poses_cannot_be_read_are_left_out(model: Pose2Seg, folder: Path) -> None:
    (folder / "openpose").mkdir()
    people = [{"pose_keypoints_2d": [10, 10, 1] * 25}]
    for i in range(4):
        (folder / "openpose" / f"{i}_keypoints.json").write_text(json.dumps({"people": people}))
    poses = open_poses(folder / "openpose")
    found, _ = find_images([folder / "images"], poses)
    (folder / "openpose" / "0_keypoints.json").write_text("{")
    with pytest.warns(DatasetWarning, match=r"0_keypoints.json: not JSON: .*; it is left out$"):
        assert predict_to_file(model, found, folder / "masks.json") == Prediction(3, 3, 1, 0)


def test_nothing_is_written_if_no_image_can_be_read(model: Pose2Seg, folder: Path) -> None:
    for i in range(3):
        (folder / f"images/{i}.png").write_bytes(b"")
    found, _ = find_images([folder / "images"], read_poses(folder / "poses.json"))
    output = folder / "masks.json"
    output.write_text("old")
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match=r"none of the 3 images can be read: .*0.png: not an image"):
        predict_to_file(model, found, output, batch_size=1)
    with pytest.raises(InputError, match=r"^[^ ]*0.png: not an image that OpenCV can read$"):
        predict_to_file(model, found[:1], output)
    assert output.read_text() == "old"
    assert sorted(folder.iterdir()) == before


def test_outputs_that_would_replace_another_file_are_rejected(model: Pose2Seg, folder: Path) -> None:
    same = [
        PosedImage(folder / name, name, read_poses(folder / "poses.json")) for name in ("a/x.jpg", "b/x.png")
    ]
    with pytest.raises(
        InputError, match=r"x.png: the overlay of .*b/x.png would replace the overlay of .*a/x.jpg"
    ):
        predict_to_file(model, same, folder / "masks.json", beside=[Overlays(folder)])
    with pytest.raises(InputError, match=r"x.png: the overlay of .*a/x.jpg would replace the masks"):
        predict_to_file(model, same[:1], folder / "x.png", beside=[Overlays(folder)])

    poses = folder / "poses.json"
    found, _ = find_images([folder / "images"], read_poses(poses))
    image, link = found[0].path, folder / "link.png"
    link.symlink_to(image)
    before = {path: path.read_bytes() for path in (image, poses)}
    with pytest.raises(InputError, match=r"0.png: the overlay of .*0.png would replace the input .*0.png"):
        predict_to_file(model, found, folder / "masks.json", beside=[Overlays(folder / "images")])
    with pytest.raises(InputError, match=r"link.png: the masks would replace the input .*0.png"):
        predict_to_file(model, found, link)
    with pytest.raises(InputError, match=r"poses.json: the masks would replace the input .*poses.json"):
        predict_to_file(model, found, folder / "images" / ".." / "poses.json", inputs={"poses": poses})
    with pytest.raises(InputError, match=r"poses.json: the masks would replace the input .*poses.json"):
        predict_to_file(model, found, poses, inputs={"weights": None, "poses": folder})
    with pytest.raises(InputError, match=r"0.png: the report would replace the input .*0.png"):
        predict_to_file(model, found, folder / "masks.json", beside=[Report(image)])
    with pytest.raises(InputError, match=r"masks.json: the report would replace the masks"):
        predict_to_file(model, found, folder / "masks.json", beside=[Report(folder / "masks.json")])
    assert {path: path.read_bytes() for path in before} == before


def test_output_and_report_must_not_be_folders(model: Pose2Seg, folder: Path) -> None:
    with pytest.raises(InputError, match=r"images: must be a file, got a folder"):
        predict_to_file(model, [], folder / "images")
    with pytest.raises(InputError, match=r"images: must be a file, got a folder"):
        predict_to_file(model, [], folder / "masks.json", beside=[Report(folder / "images")])
    assert not (folder / "masks.json.unfinished").exists()


def test_images_without_people_have_no_masks(model: Pose2Seg, folder: Path) -> None:
    found, _ = find_images([folder / "images" / "2.png"], read_poses(folder / "poses.json"))
    predicted = predict_to_file(model, found, folder / "masks.json", beside=[Overlays(folder / "overlays")])
    assert predicted == Prediction(0, 1, 0, 0)
    assert json.loads((folder / "masks.json").read_text()) == []
    overlay = read_image(folder / "overlays" / "2.png")
    np.testing.assert_array_equal(overlay, read_image(found[0].path))


def test_empty_masks_are_counted_with_a_warning(folder: Path) -> None:
    empty = small_model(torch.ones(1, 17, 3)).eval()
    assert empty.segnet.pred_small.bias is not None
    empty.segnet.pred_small.bias.data[1] -= 100
    found, _ = find_images([folder / "images"], read_poses(folder / "poses.json"))
    with pytest.warns(DatasetWarning, match=r"^3 of 3 masks are empty: the model needs more training, or "):
        prediction = predict_to_file(empty, found, folder / "masks.json")
    assert prediction == Prediction(masks=3, images=3, left_out=0, done_before=0, empty=3)


def test_without_images_the_result_is_an_empty_list(model: Pose2Seg, folder: Path) -> None:
    assert predict_to_file(model, [], folder / "masks.json") == Prediction(0, 0, 0, 0)
    assert json.loads((folder / "masks.json").read_text()) == []
