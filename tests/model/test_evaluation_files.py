import csv
import itertools
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_masks import intricate_model, known_masks
from people import draw_dataset
from pose2seg import InputError, Pose2Seg
from pose2seg.common.images import read_image, write_png
from pose2seg.data.dataset import DatasetWarning, PersonImage
from pose2seg.data.poses import ImagePoses, Person
from pose2seg.evaluation.average_precision import AveragePrecision
from pose2seg.evaluation.evaluate import Evaluation, ImageEvaluation, evaluate
from pose2seg.evaluation.report import report_files, write_report
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from shared_data import real_images, shared_path
from stopped import file_size_limit

from pose2seg_ops import RLE


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    return intricate_model()


@pytest.fixture
def images(tmp_path: Path) -> list[PersonImage]:
    return draw_dataset(tmp_path, (1, 2, 3))


def evaluation(images: list[PersonImage], *scores: tuple[float, list[float]]) -> Evaluation:
    """Returns an evaluation of the annotated masks, with the given scores of each image."""
    rows = [
        ImageEvaluation(
            image,
            ImagePoses(image.image_id, people=[]),
            [p.segmentation for p in image.people],
            [1.0] * len(image.people),
            *of_image,
        )
        for image, of_image in zip(images, scores, strict=True)
    ]
    precision = AveragePrecision(0.5, 0.75, 0.25, float("nan"), 0.125, 1.0)
    return Evaluation(precision, 0.6, rows, "pose")


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_the_worst_images_first(images: list[PersonImage], tmp_path: Path) -> None:
    scored = evaluation(images, (0.5, [0.7]), (0.2, [0.5, 0.25]), (1.0, [0.9, 0.95, 1.0]))
    scored = scored._replace(images=[row._replace(masks=[], qualities=[]) for row in scored.images])
    write_report(scored, tmp_path / "report", worst=1)
    table = read_table(tmp_path / "report/images.csv")
    assert [list(row.values()) for row in table] == [
        ["1", str(images[1].path), "2", "0", "0.2000", "0.3750", "0.2500"],
        ["0", str(images[0].path), "1", "0", "0.5000", "0.7000", "0.7000"],
        ["2", str(images[2].path), "3", "0", "1.0000", "0.9500", "0.9000"],
    ]
    assert list(table[0]) == ["image_id", "path", "people", "predictions", "f1", "mean_iou", "lowest_iou"]


def test_scores_that_are_not_defined_are_absent(images: list[PersonImage], tmp_path: Path) -> None:
    scored = evaluation(images, (0.5, []), (0.25, []), (1.0, []))
    scored = scored._replace(images=[row._replace(masks=[], qualities=[]) for row in scored.images])
    write_report(scored._replace(mean_iou=float("nan")), tmp_path, worst=1)
    assert json.loads((tmp_path / "scores.json").read_text()) == {
        "ap": 0.5,
        "ap50": 0.75,
        "ap75": 0.25,
        "ap_small": None,
        "ap_medium": 0.125,
        "ap_large": 1.0,
        "rank_by": "pose",
        "mean_iou": None,
        "images": 3,
        "people": 6,
        "predictions": 0,
    }
    assert [(row["mean_iou"], row["lowest_iou"]) for row in read_table(tmp_path / "images.csv")] == [
        ("", "")
    ] * 3


def test_ids_that_are_not_text_are_escaped(images: list[PersonImage], tmp_path: Path) -> None:
    odd = replace(images[0], image_id="\ud800\n")  # valid in JSON
    scored = evaluation([odd], (0.5, [0.7]))
    write_report(
        scored._replace(images=[scored.images[0]._replace(masks=[], qualities=[])]), tmp_path, worst=1
    )
    assert read_table(tmp_path / "images.csv")[0]["image_id"] == "\\ud800\n"
    assert (tmp_path / "worst/001.png").exists()


def test_overlays_show_only_the_worst_images(
    model: Pose2Seg, images: list[PersonImage], tmp_path: Path
) -> None:
    evaluated = evaluate(model, images)
    folder = tmp_path / "report"
    write_report(evaluated, folder, worst=99)
    (folder / "worst/notes.txt").write_text("mine")
    assert names(folder / "worst") == ["001.png", "002.png", "003.png", "notes.txt"]
    write_report(evaluated, folder, worst=2)
    assert names(folder / "worst") == ["001.png", "002.png", "notes.txt"]
    assert names(folder) == ["images.csv", "masks.json", "scores.json", "worst"]
    for place, row in enumerate(evaluated.worst_first()[:2], start=1):
        overlay, image = read_image(folder / f"worst/{place:03}.png"), row.image.read()
        height, width = row.image.size
        np.testing.assert_array_equal(overlay[:height, :width], image)
        changed = (overlay[:height, width:] != image).any(-1)
        assert changed.any(), "outlines"
        assert (overlay[height:] != 255).any(), "a caption"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dataset", ["drawn", "real"])
def test_the_scores_are_those_of_cocoeval_on_the_written_masks(
    images: list[PersonImage], tmp_path: Path, dataset: str
) -> None:
    if dataset == "real":
        images = real_images()[7:1:-1]
        annotations = json.loads(shared_path("data/coco_persons/val.json").read_text())
    else:
        annotations = to_annotations(images)
    evaluated = evaluate(known_masks(images, itertools.cycle(range(0, 40, 3))), images)
    assert 0 < evaluated.precision.ap < evaluated.precision.ap50 < 1
    write_report(evaluated, tmp_path / "report", worst=1)

    counted = {image.image_id for image in images}
    annotations["annotations"] = [
        annotation
        for annotation in annotations["annotations"]
        if annotation["image_id"] in counted and annotation["num_keypoints"] and not annotation["iscrowd"]
    ]
    (tmp_path / "truth.json").write_text(json.dumps(annotations))
    coco = COCO(str(tmp_path / "truth.json"))
    evaluator = COCOeval(coco, coco.loadRes(str(tmp_path / "report/masks.json")), "segm")
    evaluator.params.imgIds = list(counted)
    evaluator.params.catIds = [1]
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()

    scores = json.loads((tmp_path / "report/scores.json").read_text())
    expected = [None if score == -1 else score for score in evaluator.stats[:6]]
    assert [scores[name] for name in list(scores)[:6]] == expected
    assert scores["people"] == scores["predictions"] == len(annotations["annotations"])


def to_annotations(images: list[PersonImage]) -> dict[str, Any]:
    """Returns the people in COCO's format, numbered from 1, because COCOeval uses 0 for no match."""
    people = [(image, person) for image in images for person in image.people]
    return {
        "images": [
            {"id": image.image_id, "height": image.size[0], "width": image.size[1]} for image in images
        ],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": i,
                "image_id": image.image_id,
                "category_id": 1,
                "iscrowd": 0,
                "num_keypoints": 17,
                "area": int(coco_mask.area(person.segmentation)),
                "segmentation": {"size": list(image.size), "counts": person.segmentation["counts"].decode()},
            }
            for i, (image, person) in enumerate(people, start=1)
        ],
    }


def test_only_the_named_files_are_written(model: Pose2Seg, images: list[PersonImage], tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write_report(evaluate(model, images), folder, worst=2)
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    assert written == sorted(path for path, _ in report_files(folder, 2))


def test_a_missing_image_only_loses_its_overlay(
    model: Pose2Seg, images: list[PersonImage], tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    evaluated = evaluate(model, images)
    write_report(evaluated, folder, worst=3)
    place = 1 + [row.image for row in evaluated.worst_first()].index(images[1])
    images[1].path.unlink()
    message = r"1.png: No such file or directory; there is no overlay of image 1$"
    with pytest.warns(DatasetWarning, match=message):
        write_report(evaluated._replace(mean_iou=0.75), folder, worst=3)
    assert json.loads((folder / "scores.json").read_text())["mean_iou"] == 0.75
    assert names(folder / "worst") == [f"{i:03}.png" for i in (1, 2, 3) if i != place]
    write_report(evaluated._replace(images=evaluated.images[:1]), folder, worst=3)
    assert names(folder / "worst") == ["001.png"]


@pytest.mark.parametrize("unwritable", ["scores.json", "masks.json", "images.csv", "worst/001.png"])
def test_an_earlier_evaluation_is_kept_if_a_file_cannot_be_written(
    model: Pose2Seg, images: list[PersonImage], tmp_path: Path, unwritable: str
) -> None:
    folder = tmp_path / "report"
    evaluated = evaluate(model, images)
    write_report(evaluated, folder, worst=3)
    (folder / unwritable).unlink()
    (folder / unwritable).mkdir()
    before = content(folder)
    message = rf"report/{unwritable}: must be a file, got a folder"
    with pytest.raises(InputError, match=message):
        write_report(evaluated._replace(mean_iou=0.75, images=evaluated.images[:1]), folder, worst=3)
    assert content(folder) == before


def test_an_earlier_evaluation_is_kept_on_a_full_disk(
    model: Pose2Seg, images: list[PersonImage], tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    evaluated = evaluate(model, images)
    write_report(evaluated, folder, worst=3)
    before = content(folder)
    for name in ("masks.json", "worst/001.png"):
        with (
            file_size_limit(len(before[name]) - 1),
            pytest.raises(OSError, match="File too large") as raised,
        ):
            write_report(evaluated._replace(mean_iou=0.75), folder, worst=3)
        assert raised.value.filename == str(folder / name)
        assert content(folder) == before
    write_report(evaluated._replace(mean_iou=0.75), folder, worst=3)
    assert json.loads(content(folder)["scores.json"])["mean_iou"] == 0.75


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_overlays_decode_one_mask_at_a_time(images: list[PersonImage], tmp_path: Path) -> None:
    """Drawing an overlay must not need more memory for more people."""
    height, width = 360, 480
    path = tmp_path / "crowd.png"
    write_png(path, np.full((height, width, 3), 90, np.uint8))
    person = replace(images[0].people[0], segmentation=_square(height, width))
    crowd = PersonImage("crowd", path, (height, width), [person] * 500)
    scored = evaluation([crowd], (0.5, [0.7] * 500))
    poses = ImagePoses("crowd", people=[Person(person.keypoints)] * 500)
    scored = scored._replace(images=[scored.images[0]._replace(poses=poses)])
    tracemalloc.start()
    write_report(scored, tmp_path / "report", worst=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * height * width, "the size of fifty masks"


def _square(height: int, width: int) -> RLE:
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[9:99, 9:99] = 1
    rle: RLE = coco_mask.encode(mask)
    return rle
