import itertools
import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from known_masks import intricate_model, known_masks
from people import draw_dataset, write_annotations
from pose2seg import InputError, Pose2Seg
from pose2seg.common.gone import GoneError
from pose2seg.data.dataset import DatasetWarning, PersonImage, read_dataset
from pose2seg.data.poses import ImagePoses, Person, PoseFile, PoseFolder, open_poses, read_poses
from pose2seg.evaluation.evaluate import Evaluation, Poses, evaluate, match_poses
from shared_data import real_images
from small_model import small_model

from pose2seg_ops import COCO_KEYPOINTS


@pytest.fixture
def images(tmp_path: Path) -> list[PersonImage]:
    return draw_dataset(tmp_path, (1, 2, 3, 2, 1))


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    return intricate_model()


def rows(evaluation: Evaluation) -> list[tuple[Any, ...]]:
    return [(row.image.image_id, row.masks, row.f1, row.ious) for row in evaluation.images]


def test_the_annotated_masks_have_full_scores(images: list[PersonImage]) -> None:
    evaluation = evaluate(known_masks(images), images)
    assert list(evaluation.scores) == [
        "ap",
        "ap50",
        "ap75",
        "ap_small",
        "ap_medium",
        "ap_large",
        "mean_iou",
    ]
    assert evaluation.precision.ap == evaluation.scores["ap"] == pytest.approx(1)
    assert evaluation.mean_iou == 1
    assert [row.image for row in evaluation.images] == images
    assert [row.ious for row in evaluation.images] == [[1] * len(image.people) for image in images]
    assert [row.f1 for row in evaluation.images] == [1] * 5


def test_real_annotations_have_full_scores() -> None:
    images = real_images()[:6]
    evaluation = evaluate(known_masks(images), images)
    assert evaluation.precision.ap == pytest.approx(1)
    assert evaluation.mean_iou == 1


def test_masks_can_be_ranked_by_their_quality(images: list[PersonImage]) -> None:
    """The mask of the first of nine people is empty, and all others are right."""
    model = known_masks(images, [200] + [0] * 8)
    by_pose, by_quality = (evaluate(model, images, rank_by=rank_by).scores for rank_by in ("pose", "quality"))
    # COCO takes the mean of the best precision at a recall of at least 0, 0.01 ... 1; 8 / 9 are found.
    assert by_quality["ap"] == pytest.approx(89 / 101)
    assert by_pose["ap"] == pytest.approx(89 / 101 * 8 / 9)
    assert by_pose["mean_iou"] == by_quality["mean_iou"]


@pytest.mark.parametrize("shift", [1, 5, 200])
def test_the_iou_is_that_of_each_mask_with_its_own(images: list[PersonImage], shift: int) -> None:
    evaluation = evaluate(known_masks(images, itertools.repeat(shift)), images)
    everybody = []
    for row, image in zip(evaluation.images, images, strict=True):
        annotated = image.masks.astype(bool)
        moved = np.pad(annotated, ((0, 0), (0, 0), (shift, 0)))[:, :, : image.size[1]]
        expected = (annotated & moved).sum((1, 2)) / (annotated | moved).sum((1, 2))
        np.testing.assert_allclose(row.ious, expected, rtol=1e-12)
        assert row.mean_iou == pytest.approx(expected.mean())
        everybody += expected.tolist()
    assert evaluation.mean_iou == pytest.approx(np.mean(everybody))


def test_mostly_empty_masks_give_a_warning(images: list[PersonImage]) -> None:
    for empty, warns in ((4, False), (5, True)):  # of nine people
        model = known_masks(images, [200] * empty + [0] * (9 - empty))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DatasetWarning)
            evaluate(model, images)
        said = [str(warning.message) for warning in caught if warning.category is DatasetWarning]
        assert [text.partition(":")[0] for text in said] == [f"{empty} of 9 masks are empty"] * warns


def test_the_worst_images_come_first(images: list[PersonImage]) -> None:
    shifts = [0, 0, 0, 25, 25, 25, 200, 200, 2]  # of 1, 2, 3, 2 and 1 people
    evaluation = evaluate(known_masks(images, shifts), images)
    assert [row.image.image_id for row in evaluation.worst_first()] == [3, 2, 4, 0, 1]
    assert [row.f1 for row in evaluation.worst_first()][:2] == [0, 0], "their mean IoU decides"


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_the_masks_are_those_of_the_model(
    model: Pose2Seg, images: list[PersonImage], batch_size: int
) -> None:
    evaluation = evaluate(model, images, batch_size=batch_size)
    expected = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        expected += model.predict_rle([i.read() for i in batch], [i.keypoints for i in batch])
    assert [row.masks for row in evaluation.images] == expected
    assert [row.poses.keypoints.tolist() for row in evaluation.images] == [
        image.keypoints.tolist() for image in images
    ]
    assert 0 < evaluation.mean_iou < 1


def test_images_that_cannot_be_read_are_left_out_with_a_warning(
    model: Pose2Seg, images: list[PersonImage]
) -> None:
    others = [images[0], images[2], images[4]]
    expected = evaluate(model, others, batch_size=1)
    images[1].path.write_bytes(b"")
    images[3].path.unlink()
    with pytest.warns(DatasetWarning) as caught:
        evaluation = evaluate(model, images, batch_size=1)
    messages = [str(warning.message) for warning in caught]
    assert messages == [
        f"{images[1].path}: not an image that OpenCV can read; image 1 is left out",
        f"{images[3].path}: No such file or directory; image 3 is left out",
    ]
    assert all(warning.filename == __file__ for warning in caught)
    assert rows(evaluation) == rows(expected)
    np.testing.assert_equal(evaluation.scores, expected.scores)


def test_an_image_that_disappears_stops_the_evaluation(
    model: Pose2Seg, images: list[PersonImage], tmp_path: Path
) -> None:
    write_annotations(images, tmp_path / "people.json")
    found = read_dataset(tmp_path / "people.json", images[0].path.parent)
    images[3].path.unlink()
    message = (
        rf"^{images[3].path}: No such file or directory, although it was there when the run began: put it"
    )
    with pytest.raises(GoneError, match=message):
        evaluate(model, found, batch_size=1)


def test_an_evaluation_needs_a_readable_image(model: Pose2Seg, images: list[PersonImage]) -> None:
    images[0].path.write_bytes(b"")
    with (
        pytest.warns(DatasetWarning),
        pytest.raises(InputError, match=r"none of the 1 images can be read, such as .*0.png"),
    ):
        evaluate(model, images[:1])
    with pytest.raises(ValueError, match="images must hold at least one image, got none"):
        evaluate(model, [])


def test_a_model_in_training_mode_is_rejected(images: list[PersonImage]) -> None:
    with pytest.raises(RuntimeError, match=r"call model.eval\(\) first"):
        evaluate(small_model(torch.ones(1, 17, 3)).train(), images)


def annotate(folder: Path, image: PersonImage, **changes: Any) -> list[PersonImage]:
    """Returns the people of an image in OCHuman's COCO format; `changes` are made to the first."""
    joints = {"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS), "skeleton": []}
    people = [
        {
            "image_id": 1,
            "area": person.box[2] * person.box[3],
            "num_keypoints": int(np.count_nonzero(person.keypoints[:, 2])),
            "iscrowd": 0,
            "id": i,
            "category_id": 1,
            "keypoints": person.keypoints.ravel().tolist(),
            "segmentation": {"size": list(image.size), "counts": person.segmentation["counts"].decode()},
            "bbox": list(person.box),
        }
        for i, person in enumerate(image.people, start=1)
    ]
    people[0] |= changes
    height, width = image.size
    images = [{"id": 1, "file_name": image.path.name, "height": height, "width": width}]
    path = folder / "annotations.json"
    path.write_text(json.dumps({"annotations": people, "categories": [joints], "images": images}))
    return read_dataset(path, folder)


def test_the_size_is_the_annotated_area(images: list[PersonImage], tmp_path: Path) -> None:
    """In OCHuman it is the area of the box, which can be in another class than that of the mask."""
    assert images[0].masks.sum() < 32**2
    evaluation = evaluate(known_masks(images), annotate(tmp_path, images[0], area=40.0**2))
    assert math.isnan(evaluation.precision.ap_small)
    assert evaluation.precision.ap_medium == pytest.approx(1)


@pytest.mark.parametrize(
    "changes", [{"iscrowd": 1}, {"keypoints": [0] * 51, "num_keypoints": 0}, {"segmentation": []}]
)
def test_people_who_are_not_evaluated_are_not_even_ignored(
    images: list[PersonImage], tmp_path: Path, changes: dict[str, Any]
) -> None:
    """A mask of somebody else is a false positive, whereas COCO's own protocol ignores masks of crowds."""
    two = images[1].people
    poses: Poses = {1: ImagePoses(1, people=[Person(two[0].keypoints, 0.9), Person(two[1].keypoints, 0.5)])}
    evaluation = evaluate(known_masks(images), annotate(tmp_path, images[1], **changes), poses=poses)
    assert [len(row.image.people) for row in evaluation.images] == [1]
    assert evaluation.precision.ap == pytest.approx(0.5)


def test_other_poses_have_scores_but_no_matching_people(images: list[PersonImage]) -> None:
    """Two of three people are found, and there is one false positive in another image."""
    three = images[2]
    found = [Person(three.people[i].keypoints, score) for i, score in ((1, 0.9), (0, 0.4))]
    stray = Person(images[1].people[0].keypoints, 0.6)
    poses: Poses = {three.image_id: ImagePoses(three.image_id, people=[*found, stray]), 77: ImagePoses(77)}
    evaluation = evaluate(known_masks(images), [three], poses=poses)
    # At COCO's 101 recalls, the precision is 1 up to a recall of 1/3, and then 2/3 up to a recall of 2/3.
    assert evaluation.precision.ap50 == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert math.isnan(evaluation.mean_iou)
    (row,) = evaluation.images
    assert (row.ious, len(row.masks)) == ([], 3)
    assert row.f1 == pytest.approx(2 / 3)


def test_images_without_poses_are_evaluated(images: list[PersonImage]) -> None:
    poses: Poses = {0: ImagePoses(0, people=[Person(images[0].people[0].keypoints)])}
    evaluation = evaluate(known_masks(images), images[:2], poses=poses)
    assert evaluation.precision.ap == pytest.approx(34 / 101)  # one of three people
    assert [row.f1 for row in evaluation.images] == [1, 0]
    nobody = evaluate(known_masks(images), images, poses={})
    assert (nobody.precision.ap, math.isnan(nobody.mean_iou)) == (0, True)


def write_results(path: Path, *image_ids: int | str) -> PoseFile:
    pose = [5.0, 5.0, 1.0] * 17
    entries = [{"image_id": i, "category_id": 1, "keypoints": pose, "score": 0.5} for i in image_ids]
    path.write_text(json.dumps(entries))
    return read_poses(path)


def test_poses_are_found_by_the_id_even_if_it_looks_like_another_name(
    tmp_path: Path, images: list[PersonImage]
) -> None:
    """The ids of OCHuman's images are not their names: 2.png need not be image 2."""
    images = [replace(image, path=images[-1 - i].path) for i, image in enumerate(images)]
    source = write_results(tmp_path / "poses.json", 0, 3, 99)
    with pytest.warns(
        DatasetWarning, match=r"3.png: there are no poses for this .* \(and 2 more of this kind"
    ):
        found = match_poses(source, images)
    assert {image_id: poses.image_id for image_id, poses in found.items()} == {0: 0, 3: 3}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_poses_are_found_by_the_name_if_no_id_is_known(
    model: Pose2Seg, tmp_path: Path, images: list[PersonImage], kind: str
) -> None:
    images = [replace(image, image_id=100 + number) for number, image in enumerate(images)]
    if kind == "file":
        source: PoseFile | PoseFolder = write_results(tmp_path / "poses.json", "0.png", "3.png")
    else:
        (tmp_path / "labels").mkdir()
        for name in ("0", "3"):
            line = " ".join(["0 0.5 0.5 0.1 0.1", *(["0.5 0.5 2"] * 17)])
            (tmp_path / "labels" / f"{name}.txt").write_text(line)
        source = open_poses(tmp_path / "labels")
    with pytest.warns(DatasetWarning, match="there are no poses"):
        found = match_poses(source, images)
    assert {image_id: len(poses.people) for image_id, poses in found.items()} == {100: 1, 103: 1}
    evaluation = evaluate(model, images, poses=found)
    assert [row.poses.image_id for row in evaluation.images] == [100, 101, 102, 103, 104]
    assert [len(row.masks) for row in evaluation.images] == [1, 0, 0, 1, 0]


def test_poses_are_found_without_their_folder_if_none_is_found_with_it(images: list[PersonImage]) -> None:
    file = PoseFile({"x/0.png": ImagePoses(50), "x/3.png": ImagePoses(53)}, lambda path: iter([path.name]))
    with (
        pytest.warns(DatasetWarning, match=r"0.png: found by the file name alone.* \(and 1 more\)$"),
        pytest.warns(DatasetWarning, match="there are no poses"),
    ):
        found = match_poses(file, images)
    assert {image_id: poses.image_id for image_id, poses in found.items()} == {0: 50, 3: 53}


def test_poses_of_other_images_are_rejected(tmp_path: Path, images: list[PersonImage]) -> None:
    file = write_results(tmp_path / "poses.json", 55, "x.png")
    with pytest.raises(
        InputError, match=r"no poses for any of the 5 images, such as .*0.png; they list '55'"
    ):
        match_poses(file, images)
    other = PoseFile({"0": ImagePoses(0, size=(10, 20))}, lambda _: iter([]))
    with pytest.raises(InputError, match=r"0.png: is annotated as 128 x 96, but its poses are for 20 x 10"):
        match_poses(other, images)


def test_poses_that_are_not_in_pixels_are_reported(images: list[PersonImage]) -> None:
    def at(x: float) -> list[Person]:
        return [Person(np.full((17, 3), (x, 5, 2), np.float32))]

    images = images[:3]
    poses = {"0": ImagePoses(0, people=at(5)), "1": ImagePoses(1, people=at(500)), "2": ImagePoses(2)}
    with pytest.warns(DatasetWarning, match=r"1.png: .*, but all joints are outside of it"):
        assert set(match_poses(PoseFile(poses, lambda _: iter([])), images)) == {0, 1, 2}
    poses["2"] = ImagePoses(2, people=at(600))
    with pytest.warns(DatasetWarning) as caught:
        match_poses(PoseFile(poses, lambda _: iter([])), images)
    (message,) = [str(each.message) for each in caught]  # one warning for all images
    assert message.endswith("(and 1 more of this kind)")
    poses["0"] = ImagePoses(0, people=at(500))
    with pytest.raises(InputError, match=r"0.png: .*, but all joints are outside of it"):
        match_poses(PoseFile(poses, lambda _: iter([])), images)
