"""Tests that the other outputs of a prediction agree with its results, also after a stop."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from image_folder import make_images
from known_masks import intricate_model
from PIL import Image
from polygons import filled_pixel_by_pixel
from pose2seg import InputError, Pose2Seg
from pose2seg.common.images import read_image
from pose2seg.common.remarks import DatasetWarning
from pose2seg.data.posed_images import Content, PosedImage, find_images
from pose2seg.data.poses import ImagePoses, Person, read_poses
from pose2seg.prediction.drawing import person_colour
from pose2seg.prediction.loop import Masks
from pose2seg.prediction.outputs import (
    CollectedFile,
    Cutouts,
    ImageFiles,
    IndexedMasks,
    Overlays,
    PersonMasks,
    Polygons,
    Report,
    YoloLabels,
)
from pose2seg.prediction.outputs.cutouts import cut_out
from pose2seg.prediction.predict import Prediction, predict_to_file
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from stopped_prediction import Stopped

from pose2seg_ops import encode_rle


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    return intricate_model()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_images(tmp_path)
    return tmp_path


def predict(model: Pose2Seg, folder: Path, *beside: ImageFiles | CollectedFile, **options: Any) -> Prediction:
    """Predicts the masks of 0.png with one person, 1.png with two, and 2.png with none."""
    found, _ = find_images([folder / "images"], read_poses(folder / "poses.json"))
    return predict_to_file(model, found, folder / "masks.json", beside=beside, **options)


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    """Returns the masks in the results, by the name of the person's file."""
    results = json.loads((folder / "masks.json").read_text())
    masks = [coco_mask.decode(result["segmentation"]) for result in results]
    assert [result["image_id"] for result in results] == [10, 11, 11]
    assert all(mask.any() for mask in masks)
    return dict(zip(("0_1", "1_1", "1_2"), masks, strict=True))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_mask_of_each_person_is_a_png(model: Pose2Seg, folder: Path) -> None:
    predict(model, folder, PersonMasks(folder / "png"))
    assert files_in(folder / "png") == ["0_1.png", "1_1.png", "1_2.png"]
    for name, mask in masks_of(folder).items():
        written = cv2.imread(str(folder / "png" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, 255 * mask)


def test_the_masks_of_an_image_are_one_png_with_a_palette(model: Pose2Seg, folder: Path) -> None:
    predict(model, folder, IndexedMasks(folder / "png"))
    masks = masks_of(folder)
    assert files_in(folder / "png") == ["0.png", "1.png", "2.png"]
    with Image.open(folder / "png" / "1.png") as image:
        assert image.mode == "P"
        palette = image.getpalette()
        indices = np.asarray(image)
    assert palette is not None
    assert palette[:9] == [0, 0, 0, *person_colour(0)[::-1], *person_colour(1)[::-1]]
    expected = np.where(masks["1_1"], 1, 2 * masks["1_2"])  # the first of equal scores
    np.testing.assert_array_equal(indices, expected)
    with Image.open(folder / "png" / "2.png") as image:
        assert not np.asarray(image).any()


def of_people(masks: torch.Tensor, scores: list[float], tracks: list[int] | None = None) -> Any:
    """Returns a prediction with masks, (n, H, W) bool."""
    pose = np.full((17, 3), 2, np.float32)
    people = [Person(pose, score, None, tracks[i] if tracks else None) for i, score in enumerate(scores)]
    content = Content(np.zeros((*masks.shape[1:], 3), np.uint8), ImagePoses("x", None, people))
    item = PosedImage(Path("x.jpg"), "x", None)  # type: ignore[arg-type]
    return Masks(item, content, encode_rle(masks), [0.5] * len(masks), 0.0)


def test_the_person_with_the_highest_score_has_the_pixel(tmp_path: Path) -> None:
    masks = torch.tensor([[[1, 1, 1, 1, 0]], [[0, 1, 1, 1, 0]], [[0, 0, 1, 1, 0]]]).bool()
    IndexedMasks(tmp_path).write(of_people(masks, [0.5, 0.75, 0.5]))
    assert np.asarray(Image.open(tmp_path / "x.png")).tolist() == [[1, 2, 2, 2, 0]]


def test_a_track_keeps_its_colour(tmp_path: Path) -> None:
    masks = torch.tensor([[[1, 0]], [[0, 1]]]).bool()
    colours: dict[int, list[int]] = {}
    for tracks in ([4, 5], [5, 4]):
        IndexedMasks(tmp_path).write(of_people(masks, [1, 1], tracks))
        pixels = np.asarray(Image.open(tmp_path / "x.png").convert("RGB"))[0].tolist()
        for track, colour in zip(tracks, pixels, strict=True):
            assert colours.setdefault(track, colour) == colour
    assert len({tuple(colour) for colour in colours.values()}) == 2


def test_an_indexed_png_has_at_most_255_people(tmp_path: Path) -> None:
    masks = torch.ones(256, 1, 1, dtype=torch.bool)
    problem = IndexedMasks(tmp_path).try_to_write(of_people(masks, [1] * 256))
    assert problem == f"{tmp_path / 'x.png'}: an indexed PNG must have at most 255 people, got 256"
    assert IndexedMasks(tmp_path).try_to_write(of_people(masks[1:], [1] * 255)) is None
    assert np.asarray(Image.open(tmp_path / "x.png")).tolist() == [[1]]


def test_cutouts_are_the_image_inside_the_mask(model: Pose2Seg, folder: Path) -> None:
    predict(model, folder, Cutouts(folder / "png"))
    assert files_in(folder / "png") == ["0_1.png", "1_1.png", "1_2.png"]
    for name, mask in masks_of(folder).items():
        image = cv2.imread(str(folder / "images" / f"{name[0]}.png"))
        assert image is not None
        rows, columns = mask.nonzero()
        window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        written = np.asarray(Image.open(folder / "png" / f"{name}.png"))
        np.testing.assert_array_equal(written[..., 3], 255 * mask[window])
        np.testing.assert_array_equal(written[..., 2::-1], image[window] * mask[window][..., None])


def test_soft_edges_are_the_probabilities(model: Pose2Seg, folder: Path) -> None:
    predict(model, folder, Cutouts(folder / "png", soft_edges=True), batch_size=1)
    poses = read_poses(folder / "poses.json")
    seen = set()
    for number in (0, 1):
        path = folder / "images" / f"{number}.png"
        image, of_image = read_image(path), poses.find(path)
        assert of_image is not None
        (opacities,) = model.predict([image], [of_image.keypoints], threshold=None)
        for person, opacity in enumerate(opacities.numpy(), start=1):
            written = np.asarray(Image.open(folder / "png" / f"{number}_{person}.png"))
            rows, columns = (opacity >= 13).nonzero()
            window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            np.testing.assert_array_equal(written[..., 3], opacity[window])
            np.testing.assert_array_equal(
                written[..., 2::-1], image[window] * (opacity[window] > 0)[..., None]
            )
            seen.update(np.unique(opacity).tolist())
    assert len(seen) > 2, "more than a mask has"
    hard = masks_of(folder)
    predict(model, folder)
    assert all(np.array_equal(mask, hard[name]) for name, mask in masks_of(folder).items())


def test_an_empty_cutout_is_a_transparent_pixel() -> None:
    image = np.full((4, 5, 3), 200, np.uint8)
    assert cut_out(image, np.zeros((4, 5), np.uint8)).tolist() == [[[0, 0, 0, 0]]]
    assert cut_out(image, np.full((4, 5), 12, np.uint8)).tolist() == [[[0, 0, 0, 0]]]


def test_pycocotools_decodes_the_polygons_to_the_masks(model: Pose2Seg, folder: Path) -> None:
    predict(model, folder, Polygons(folder / "deep" / "polygons.json"))
    coco = COCO(str(folder / "deep" / "polygons.json"))
    assert [(i["id"], i["file_name"], i["height"], i["width"]) for i in coco.dataset["images"]] == [
        (10, "0.png", 40, 60),
        (11, "1.png", 50, 30),
        (12, "2.png", 20, 20),
    ]
    annotations = coco.dataset["annotations"]
    assert [(a["id"], a["image_id"], a["annotation_id"]) for a in annotations] == [
        (1, 10, 101),
        (2, 11, 100),
        (3, 11, 102),
    ]
    for annotation, mask in zip(annotations, masks_of(folder).values(), strict=True):
        assert isinstance(annotation["segmentation"], list)
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        rows, columns = mask.nonzero()
        x, y, width, height = annotation["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)


def test_a_person_without_a_pixel_has_no_polygon(tmp_path: Path) -> None:
    polygons = Polygons(tmp_path / "polygons.json")
    part = polygons.part(of_people(torch.tensor([[[0, 0]], [[1, 0]]]).bool(), [1, 1]))
    polygons.write([part], [], None)
    (annotation,) = json.loads((tmp_path / "polygons.json").read_text())["annotations"]
    assert annotation["segmentation"] == [[0, 0, 0, 1, 1, 1, 1, 0]]


def test_filled_yolo_labels_are_the_masks(model: Pose2Seg, folder: Path) -> None:
    predict(model, folder, YoloLabels(folder / "labels"))
    assert files_in(folder / "labels") == ["0.txt", "1.txt", "2.txt"]
    for name, mask in masks_of(folder).items():
        line = (folder / "labels" / f"{name[0]}.txt").read_text().splitlines()[int(name[2]) - 1]
        label, *numbers = line.split()
        assert label == "0"
        points = np.array(numbers, float).reshape(-1, 2)
        assert ((points >= 0) & (points <= 1)).all()
        filled = filled_pixel_by_pixel([points * mask.shape[::-1]], (mask.shape[0], mask.shape[1]))
        np.testing.assert_array_equal(filled, mask)
    assert (folder / "labels" / "2.txt").read_text() == ""


def test_supervision_reads_yolo_labels_and_polygons(model: Pose2Seg, folder: Path) -> None:
    sv = pytest.importorskip("supervision")
    (folder / "images" / "3.png").unlink()
    predict(model, folder, YoloLabels(folder / "labels"), Polygons(folder / "polygons.json"))
    images = str(folder / "images")
    (folder / "data.yaml").write_text("nc: 1\nnames: [person]\n")
    labels = sv.DetectionDataset.from_yolo(
        images, str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
    )
    polygons = sv.DetectionDataset.from_coco(images, str(folder / "polygons.json"), force_masks=True)
    masks = masks_of(folder)
    for dataset in (labels, polygons):
        found = {Path(path).stem: detections for path, _, detections in dataset}
        assert [len(found[name]) for name in ("0", "1", "2")] == [1, 2, 0]
        for name, mask in masks.items():
            detected = found[name[0]].mask[int(name[2]) - 1]
            # supervision fills with OpenCV, which includes the pixels on the outline.
            grown = cv2.dilate(mask, np.ones((3, 3), np.uint8))
            assert not (detected & (grown == 0)).any()
            assert detected[cv2.erode(mask, np.ones((3, 3), np.uint8)) == 1].all()


KINDS = {
    "overlays": lambda folder: Overlays(folder / "x"),
    "masks": lambda folder: PersonMasks(folder / "x"),
    "indexed_masks": lambda folder: IndexedMasks(folder / "x"),
    "cutouts": lambda folder: Cutouts(folder / "x"),
    "yolo": lambda folder: YoloLabels(folder / "x"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_missing_files_of_an_image_are_written_again(model: Pose2Seg, folder: Path, kind: str) -> None:
    predict(model, folder, KINDS[kind](folder))
    whole = {path.name: path.read_bytes() for path in (folder / "x").iterdir()}
    for path in (folder / "x").iterdir():
        path.unlink()
    (folder / "masks.json").unlink()
    stopped = Stopped(model, folder, beside=[KINDS[kind](folder)])
    assert stopped.predict().done_before == 1
    assert {path.name: path.read_bytes() for path in (folder / "x").iterdir()} == whole
    stopped = Stopped(model, folder, beside=[KINDS[kind](folder)])
    next((folder / "x").glob("0*")).unlink()
    assert stopped.predict().done_before == 0
    assert {path.name: path.read_bytes() for path in (folder / "x").iterdir()} == whole


def test_polygons_survive_a_stop(model: Pose2Seg, folder: Path) -> None:
    polygons = Polygons(folder / "polygons.json")
    predict(model, folder, polygons)
    whole = polygons.path.read_bytes()
    polygons.path.unlink()
    stopped = Stopped(model, folder, beside=[polygons])
    assert not polygons.path.exists()
    assert stopped.predict().done_before == 1
    assert polygons.path.read_bytes() == whole


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ([], r"--cutouts has changed from 'x' to nothing since this run began"),
        ([Cutouts(Path("x"), soft_edges=True)], r"--soft-edges has changed from False to True since"),
        ([Cutouts(Path("y"))], r"--cutouts has changed from 'x' to 'y' since"),
        ([Cutouts(Path("x")), Polygons(Path("p"))], r"--polygons has changed from nothing to True since"),
    ],
)
def test_a_resumed_run_must_write_the_same_files(
    model: Pose2Seg, folder: Path, monkeypatch: pytest.MonkeyPatch, then: list[Any], message: str
) -> None:
    monkeypatch.chdir(folder)
    stopped = Stopped(model, folder, beside=[Cutouts(Path("x"))])
    stopped.options["beside"] = then
    with pytest.raises(InputError, match=message):
        stopped.predict()


def test_surplus_files_of_people_are_removed(model: Pose2Seg, folder: Path) -> None:
    predict(model, folder, PersonMasks(folder / "png"))
    poses = json.loads((folder / "poses.json").read_text())
    poses["annotations"] = [each for each in poses["annotations"] if each["id"] == 100]
    (folder / "poses.json").write_text(json.dumps(poses))
    predict(model, folder, PersonMasks(folder / "png"))
    assert files_in(folder / "png") == ["1_1.png"]


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ([PersonMasks(Path("images"))], r"images: the image .*2.png is there, but the masks need a folder of their own"),
        ([Overlays(Path("x")), Cutouts(Path("x"))], r"x: the overlays are there, but the cut-outs need a folder of their own"),
        ([Cutouts(Path("x")), YoloLabels(Path("x"))], r"x: the cut-outs are there, but the YOLO labels need a folder"),
        ([IndexedMasks(Path("x")), Overlays(Path("x"))], r"x/0.png: the overlay of .*0.png would replace the indexed mask of .*0.png"),
        ([Polygons(Path("masks.json"))], r"masks.json: the polygons would replace the masks"),
        ([Polygons(Path("p.json")), Report(Path("p.json"))], r"p.json: the report would replace the polygons"),
        ([Cutouts(Path("masks.json.unfinished"))], r"masks.json.unfinished: must not be in .*, which is for unfinished results"),
    ],
)  # fmt: skip
def test_outputs_do_not_replace_each_other(
    model: Pose2Seg, folder: Path, monkeypatch: pytest.MonkeyPatch, beside: list[Any], message: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=message):
        predict(model, folder, *beside)
    assert files_in(folder) == ["images", "poses.json"]


def test_a_file_that_cannot_be_written_is_left_out(model: Pose2Seg, folder: Path) -> None:
    poses = json.loads((folder / "poses.json").read_text())
    name = "x" * 250 + ".png"
    poses["images"][0]["file_name"] = name
    (folder / "images" / "0.png").rename(folder / "images" / name)
    (folder / "poses.json").write_text(json.dumps(poses))
    with pytest.warns(DatasetWarning, match=r"x_1.png: File name too long; .*x.png has masks, but no mask$"):
        assert predict(model, folder, PersonMasks(folder / "png")).masks == 3
    assert files_in(folder / "png") == ["1_1.png", "1_2.png"]


def test_masks_become_detections_of_supervision_in_a_line() -> None:
    """Runs the lines in the documentation."""
    sv = pytest.importorskip("supervision")
    page = (Path(__file__).parents[2] / "docs" / "predict.md").read_text()
    (lines,) = [block for block in re.findall(r"```py\n(.*?)```", page, re.DOTALL) if "supervision" in block]
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 5, 7] = True
    names: dict[str, Any] = {"masks": masks}
    exec(lines, names)
    np.testing.assert_array_equal(names["mask"], masks[0].numpy())
    detections = names["detections"]
    assert isinstance(detections, sv.Detections)
    assert detections.area.tolist() == [6, 1]
    np.testing.assert_array_equal(detections.mask, masks.numpy())
    assert detections.xyxy[0, :2].tolist() == [2, 1]
