"""Tests of annotations of other tools, for every command that reads annotations."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose2seg import InputError
from pose2seg.common.remarks import DatasetWarning
from pose2seg.data.dataset import PersonImage, read_dataset
from pose2seg.data.poses import read_poses
from pose2seg.training.cluster import read_annotated_people
from two_people import (
    HEIGHT,
    POSITIONS,
    SIZE,
    VISIBILITY,
    WIDTH,
    Array,
    expected_of_visibility,
    require,
    square_masks,
    write_image,
)

from pose2seg_ops import COCO_KEYPOINTS


def require_annotated(
    annotations: Path, images: Path, expected: Array, masks: Array | None
) -> list[PersonImage]:
    """Fails if predict, templates and, with masks, evaluate and train do not read the same people."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DatasetWarning)
        found = read_poses(annotations).find(images / "one.png")
        of_templates, _ = read_annotated_people([annotations])
        dataset = [] if masks is None else read_dataset(annotations, images)
    assert found is not None
    require(found, expected, atol=0.01)
    np.testing.assert_allclose(of_templates, expected, rtol=0, atol=0.01)
    for image in dataset:
        assert image.path == images / "one.png"
        np.testing.assert_allclose(image.keypoints, expected, rtol=0, atol=0.01)
        assert (image.masks != masks).mean() < 0.01  # the edge of a polygon may be off by a pixel
    return dataset


@pytest.mark.parametrize("binary", [False, True])
def test_coco_of_sleap_io(tmp_path: Path, binary: bool) -> None:
    sleap = pytest.importorskip("sleap_io", reason="no sleap-io (extra interop)")
    image = write_image(tmp_path / "one.png")
    skeleton = sleap.Skeleton([name.replace("_", "-") for name in COCO_KEYPOINTS], name="person")
    tracks = [sleap.Track("a"), sleap.Track("b")]
    positions = np.where(VISIBILITY[:, :, None] > 0, POSITIONS, np.nan)
    people = [
        sleap.Instance.from_numpy(each, skeleton=skeleton, track=track)
        for each, track in zip(positions, tracks, strict=True)
    ]
    frame = sleap.LabeledFrame(video=sleap.Video.from_filename([str(image)]), frame_idx=0, instances=people)
    for mask in square_masks():
        frame.masks.append(sleap.UserSegmentationMask.from_numpy(mask))
    labels = sleap.Labels([frame])
    path = tmp_path / "annotations.json"
    sleap.save_coco(labels, str(path), visibility_encoding="binary" if binary else "ternary")
    (dataset,) = require_annotated(
        path, tmp_path, expected_of_visibility(2 * (VISIBILITY > 0)), square_masks()
    )
    np.testing.assert_array_equal(dataset.masks, square_masks())
    found = read_poses(path).find(tmp_path / "one.png")
    assert found is not None
    assert [person.track_id for person in found.people] == [1, 2]


@pytest.mark.parametrize("painted", [False, True])
def test_coco_of_datumaro(tmp_path: Path, painted: bool) -> None:
    datumaro = pytest.importorskip("datumaro", reason="no datumaro (extra interop)")
    from datumaro.components import annotation as kinds

    items: list[Any] = []
    outlines = [[15, 25, 60, 25, 60, 60, 15, 60], [85, 5, 110, 5, 110, 80, 85, 80]]
    for i, mask in enumerate(square_masks()):
        joints = np.where(VISIBILITY[i, :, None] > 0, POSITIONS[i], 0)
        items.append(
            kinds.Points(joints.ravel().tolist(), VISIBILITY[i].tolist(), label=0, group=i + 1, id=i + 1)
        )
        shape = (
            kinds.Mask(mask, label=0, group=i + 1)
            if painted
            else kinds.Polygon(outlines[i], label=0, group=i + 1)
        )
        items.append(shape)
    image = datumaro.components.media.Image.from_numpy(np.zeros((*SIZE, 3), np.uint8), ext=".png")
    item = datumaro.DatasetItem("one", media=image, annotations=items)
    categories = {
        kinds.AnnotationType.label: kinds.LabelCategories.from_iterable(["person"]),
        kinds.AnnotationType.points: kinds.PointsCategories.from_iterable([(0, list(COCO_KEYPOINTS), [])]),
    }
    dataset = datumaro.Dataset.from_iterable([item], categories=categories)
    folder = tmp_path / "exported"
    dataset.export(str(folder), "coco_person_keypoints", save_media=True, image_ext=".png")
    path = folder / "annotations/person_keypoints_default.json"
    (found,) = require_annotated(path, folder / "images/default", expected_of_visibility(), square_masks())
    np.testing.assert_array_equal(found.masks, square_masks())


CROWDPOSE = [
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck"),
]


def test_crowdpose(tmp_path: Path) -> None:
    """The file has CrowdPose's members, where all labelled joints are 2, and masks for training."""
    write_image(tmp_path / "one.png")
    joints = np.dstack([POSITIONS, np.full((2, 17), 2)])
    people = []
    for i, outline in enumerate(([15, 25, 60, 25, 60, 60, 15, 60], [85, 5, 110, 5, 110, 80, 85, 80])):
        by_name = dict(zip(COCO_KEYPOINTS, joints[i].tolist(), strict=True))
        keypoints = [number for name in CROWDPOSE for number in by_name.get(name, [7, 7, 2])]
        person = {
            "num_keypoints": 14,
            "iscrowd": 0,
            "keypoints": keypoints,
            "image_id": 100597,
            "category_id": 1,
        }
        people.append({**person, "bbox": [1, 1, 20, 20], "id": 123000 + i, "segmentation": [outline]})
    content = {
        "images": [
            {"file_name": "one.png", "id": 100597, "height": HEIGHT, "width": WIDTH, "crowdIndex": 0.6}
        ],
        "annotations": people,
        "categories": [{"supercategory": "person", "id": 1, "name": "person", "keypoints": CROWDPOSE}],
    }
    path = tmp_path / "crowdpose_train.json"
    path.write_text(json.dumps(content))
    known = [name in CROWDPOSE for name in COCO_KEYPOINTS]
    require_annotated(path, tmp_path, expected_of_visibility(np.array([known, known]) * 2), square_masks())


OCHUMAN = [
    *(
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_hip",
    ),
    *("right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "head", "neck", "right_ear"),
    *("left_ear", "nose", "right_eye", "left_eye"),
]


def ochuman(**changes: Any) -> dict[str, Any]:
    """Returns annotations with the members that OCHuman's API reads (OCHumanApi, ochuman.py)."""
    codes = {"missing": 0, "vis": 1, "self_occluded": 2, "others_occluded": 3}
    own = [[0, 1, 2, 3, *[1] * 13], [1, 2, 3, 0, *[3] * 13]]
    outer = [[[15, 25, 60, 25, 60, 60, 15, 60]], [[85, 5, 110, 5, 110, 80, 85, 80]]]
    inner: list[Any] = [[], [[90, 10, 100, 10, 100, 20, 90, 20]]]
    people: list[dict[str, Any]] = []
    for i in range(2):
        by_name = dict(zip(COCO_KEYPOINTS, zip(POSITIONS[i].tolist(), own[i], strict=True), strict=True))
        keypoints: list[Any] = []
        for name in OCHUMAN:
            position, code = by_name.get(name, ([7.0, 7.0], 1))
            keypoints += [*position, code]
        segms = {"outer": outer[i], "inner": inner[i], "height": HEIGHT, "width": WIDTH}
        people.append({"bbox": [10, 5, 110, 85], "keypoints": keypoints, "segms": segms, "max_iou": 0.7})
    people.append({"bbox": [0, 0, 9, 9], "keypoints": None, "segms": None, "max_iou": 0.1})
    image = {
        "image_id": "000012",
        "file_name": "one.png",
        "height": HEIGHT,
        "width": WIDTH,
        "annotations": people,
    }
    return {"keypoint_names": OCHUMAN, "keypoint_visible": codes, "images": [image], **changes}


def test_ochuman(tmp_path: Path) -> None:
    write_image(tmp_path / "one.png")
    path = tmp_path / "ochuman.json"
    path.write_text(json.dumps(ochuman()))
    expected = expected_of_visibility(np.array([[0, 2, 2, 1, *[2] * 13], [2, 2, 1, 0, *[1] * 13]]))
    masks = square_masks()
    masks[1, 10:20, 90:100] = False
    (dataset,) = require_annotated(path, tmp_path, expected, masks)
    np.testing.assert_array_equal(dataset.masks, masks)
    assert (dataset.image_id, [person.annotation_id for person in dataset.people]) == (
        "000012",
        ["000012/0", "000012/1"],
    )
    assert [(person.area, person.box) for person in dataset.people] == [(8000, (10, 5, 100, 80))] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoint_visible": {"vis": 1, "hidden": 2}}, '"keypoint_visible" must give codes to missing, vis'),
        ({"images": [{"image_id": 1}]}, r'images\[0\]: "height" must be an integer, got nothing'),
        ({"keypoint_visible": {"missing": 0, "vis": 1}}, "visibility .* must be 0, 1 or 2, got -1 of"),
    ],
)
def test_ochuman_files_of_another_form_are_rejected(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_image(tmp_path / "one.png")
    path = tmp_path / "ochuman.json"
    path.write_text(json.dumps(ochuman(**change)))
    for read in (read_poses, lambda path: read_dataset(path, tmp_path)):
        with pytest.raises(InputError, match=message):
            read(path)


def test_an_unusable_hole_of_ochuman_only_loses_the_mask(tmp_path: Path) -> None:
    write_image(tmp_path / "one.png")
    content = ochuman()
    content["images"][0]["annotations"][1]["segms"]["inner"] = [[1, 2, 3]]
    path = tmp_path / "ochuman.json"
    path.write_text(json.dumps(content))
    with pytest.warns(DatasetWarning, match=r"images\[0\]: annotations\[1\]: .*; the mask is left out"):
        (image,) = read_dataset(path, tmp_path)
    assert [person.annotation_id for person in image.people] == ["000012/0"]
