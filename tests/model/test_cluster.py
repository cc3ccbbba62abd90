import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from golden import golden_path
from pose2seg import InputError, load_templates
from pose2seg.commands import cli
from pose2seg.common.images import read_image
from pose2seg.network.templates import DEFAULT_TEMPLATES
from pose2seg.training.cluster import PoseClusters, cluster_poses, read_annotated_people
from shared_data import shared_path

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

SWAPPED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
STANDING = np.array([(0.5 + 0.1 * (-1) ** j * (j > 0), j / 16, 2) for j in range(17)], np.float32)
SITTING = STANDING * np.array((1, 0.5, 1), np.float32)
LYING = STANDING[:, [1, 0, 2]]

Array = npt.NDArray[np.float32]


def people(*poses: Array, box: tuple[float, float, float, float] = (10, 20, 40, 80)) -> tuple[Array, Array]:
    """Converts poses from the unit square of a box to the image."""
    x, y, width, height = box
    side = max(width, height)
    corner = x + width / 2 - side / 2, y + height / 2 - side / 2
    keypoints = np.stack(poses) * np.array([side, side, 1], np.float32)
    keypoints[:, :, :2] += np.array(corner, np.float32)
    return keypoints, np.tile(np.array(box, np.float32), (len(poses), 1))


def test_a_cluster_is_the_mean_of_poses_in_the_unit_square_and_mirrored() -> None:
    half = STANDING.copy()
    half[3:6] = 0  # missing
    clusters = cluster_poses(*people(STANDING, half), count=1, minimum_joints=1)
    half[3:6] = (0.5, 0.5, 0)
    poses = np.stack([STANDING, half]).astype(np.float64)
    mirrored = poses[:, SWAPPED] * (-1, 1, 1) + (1, 0, 0)
    np.testing.assert_allclose(clusters.means[0], np.concatenate([poses, mirrored]).mean(axis=0), atol=1e-6)
    assert clusters.sizes.tolist() == [4]


@pytest.mark.parametrize("box", [(0, 0, 40, 80), (7, 3, 80, 40), (-5, 9, 60, 60)])
def test_position_and_size_of_a_pose_do_not_matter(box: tuple[float, float, float, float]) -> None:
    means = cluster_poses(*people(STANDING, box=box), count=1).means
    np.testing.assert_allclose(means, cluster_poses(*people(STANDING), count=1).means, atol=1e-6)


def test_the_largest_cluster_comes_first() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (30, 17, 2)).astype(np.float32)
    poses = np.stack([SITTING] * 10 + [STANDING] * 20)
    poses[:, :, :2] += noise
    clusters = cluster_poses(*people(*poses), count=2)
    assert clusters.sizes.tolist() == [40, 20]
    for mean, pose in zip(clusters.means, (STANDING, SITTING), strict=True):
        symmetric = (pose + pose[SWAPPED] * (-1, 1, 1) + (1, 0, 0)) / 2
        assert np.abs(mean - symmetric).max() < 0.02


def test_people_with_fewer_labelled_joints_are_left_out() -> None:
    poses = np.stack([STANDING, LYING])
    poses[1, 8:] = 0
    keypoints, boxes = people(*poses)
    assert cluster_poses(keypoints, boxes, 1).sizes.sum() == 2
    assert cluster_poses(keypoints, boxes, 1, minimum_joints=8).sizes.sum() == 4
    with pytest.raises(InputError, match=r"2 templates need at least 2 people with 9 or more .*, got 1"):
        cluster_poses(keypoints, boxes, 2)


def test_there_must_be_enough_different_poses() -> None:
    with pytest.raises(InputError, match="3 templates need at least 3 different poses"):
        cluster_poses(*people(STANDING, STANDING, STANDING), count=3)


@pytest.mark.parametrize("missing", ["sklearn.cluster", "sklearn.exceptions"])
def test_without_scikit_learn_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    message = rf"scikit-learn cannot be imported \(.*{missing}.*\): pip install 'pose2seg_ops\[train\]'"
    with pytest.raises(InputError, match=message):
        cluster_poses(*people(STANDING), count=1)


# The poses of COCO 2017, and the original's templates


@pytest.fixture(scope="module")
def coco_people() -> tuple[Array, Array]:
    with np.load(shared_path("data/coco_poses_2017.npz")) as arrays:
        return arrays["keypoints"].astype(np.float32), arrays["bbox"].astype(np.float32)


@pytest.fixture(scope="module")
def coco_clusters(coco_people: tuple[Array, Array]) -> PoseClusters:
    return cluster_poses(*coco_people)


def test_the_templates_of_coco_are_close_to_the_official_ones() -> None:
    """Returns the distance of each template to the nearest official one, which is different for all three."""
    ours = load_templates()[:3].numpy()
    official = load_templates(golden_path("templates_official.json"))[:3].numpy()
    np.testing.assert_array_equal(ours[[0, 2, 1], :, 2] > 0, official[:, :, 2] > 0)
    distances = np.linalg.norm(ours[[0, 2, 1], :, :2] - official[:, :, :2], axis=-1)
    assert distances.mean(axis=1).max() <= 0.03
    assert distances.max() <= 0.03


def test_the_default_templates_are_those_of_coco(coco_clusters: PoseClusters) -> None:
    default = np.array(json.loads(DEFAULT_TEMPLATES.read_text())["templates"]).reshape(3, 17, 3)
    np.testing.assert_allclose(coco_clusters.means, default, rtol=0, atol=1e-4)
    assert coco_clusters.sizes.sum() == 2 * 110_088


def test_half_of_the_people_with_another_seed_give_the_same_clusters(
    coco_people: tuple[Array, Array], coco_clusters: PoseClusters
) -> None:
    keypoints, boxes = coco_people
    half = cluster_poses(keypoints[::2], boxes[::2], seed=1)
    np.testing.assert_allclose(half.means[:, :, :2], coco_clusters.means[:, :, :2], rtol=0, atol=0.01)


# The command


def annotation(pose: Array, **more: Any) -> dict[str, Any]:
    keypoints, boxes = people(pose)
    return {"keypoints": keypoints.ravel().tolist(), "bbox": boxes[0].tolist(), **more}


def write(path: Path, *annotations: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"annotations": annotations}))
    return path


def test_the_command_writes_templates_and_a_drawing_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = annotation(STANDING * 0)
    first = write(tmp_path / "1.json", annotation(STANDING), annotation(LYING, iscrowd=1), nobody)
    second = write(tmp_path / "2.json", annotation(STANDING), annotation(LYING), {"segmentation": []})
    output, drawing = tmp_path / "new" / "templates.json", tmp_path / "templates.png"
    words = ["templates", first, second, "--output", output, "--picture", drawing, "--count", 2]
    assert cli.main([str(word) for word in words]) == 0
    crowd, summary = capsys.readouterr().err.splitlines()
    assert crowd.endswith('1.json: annotations[1] is left out: it has joints, but is marked "iscrowd"')
    assert summary.startswith(f"{output}: 2 templates from 3 of 3 people in ")
    assert read_image(drawing).shape == (320, 640, 3)
    expected = cluster_poses(*people(STANDING, STANDING, LYING), count=2).means
    templates = load_templates(output)[:2].numpy()
    np.testing.assert_allclose(templates, expected, rtol=0, atol=1e-6)
    content = json.loads(output.read_text())
    official = json.loads(golden_path("templates_official.json").read_text())
    assert content.keys() == official.keys()
    assert content["minpoints"] == 9
    assert sorted(map(sorted, content["connections"])) == sorted(map(sorted, official["connections"]))
    assert [content[key] == official[key] for key in ("names", "flip_map", "vis_threshold")] == [True] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected COCO annotations (an object), got []"),
        ({}, 'expected COCO annotations (an object with "images" and "annotations"), got {}'),
        (
            {"annotations": [{"keypoints": [1, 1, 2] * 17}]},
            'annotations[0]: "bbox" must be a list, got nothing',
        ),
        (
            {"annotations": [{"keypoints": [1, 1, 2] * 17, "bbox": [0, 0, 9, 0]}]},
            'annotations[0]: "bbox" must have a width and a height above 0',
        ),
        (  # above 0 in float64 only
            {"annotations": [{"keypoints": [1, 1, 2] * 17, "bbox": [10, 10, 1e-50, 1e-50]}]},
            'annotations[0]: "bbox" must have a width and a height above 0',
        ),
        (
            {"annotations": [{"keypoints": [1, 1, 2]}]},
            'annotations[0]: "keypoints" must be 51 numbers, got 3',
        ),
        ({"annotations": []}, "3 templates need at least 3 people with 9 or more labelled joints, got 0"),
    ],
)
def test_errors_that_the_user_can_fix_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, message: str
) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    assert cli.main(["templates", str(path), "--output", str(tmp_path / "t.json")]) == 2
    assert message in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert not (tmp_path / "t.json").exists()


@pytest.mark.parametrize("option", ["--output", "--picture"])
def test_annotations_are_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    path = write(tmp_path / "annotations.json")
    words = ["templates", str(path), "--output", str(tmp_path / "t.json"), option, str(path)]
    assert cli.main(words) == 2
    assert f"would replace the input {path}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--output", "--picture"])
def test_a_folder_is_rejected_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    output = tmp_path / "t.json"
    words = ["templates", str(tmp_path / "none.json"), "--output", str(output), option, str(tmp_path)]
    assert cli.main(words) == 2
    error = f"pose2seg: error: {tmp_path}: must be a file, got a folder\n"
    assert capsys.readouterr().err == error


def test_joints_of_other_skeletons_are_found_by_their_names(tmp_path: Path) -> None:
    person = {"keypoints": [1, 2, 2, 3, 4, 1], "category_id": 5, "bbox": [1, 2.5, 3, 4]}
    content = {"annotations": [person], "categories": [{"id": 5, "keypoints": ["neck", "nose"]}]}
    (tmp_path / "people.json").write_text(json.dumps(content))
    keypoints, boxes = read_annotated_people([tmp_path / "people.json"])
    assert keypoints[0, 0].tolist() == [3, 4, 1]
    assert not keypoints[0, 1:].any()
    assert boxes.tolist() == [[1, 2.5, 3, 4]]


def test_real_annotations_are_read() -> None:
    path = shared_path("data/coco_persons/val.json")
    keypoints, boxes = read_annotated_people([path, path])
    assert keypoints.shape == (2 * 447, 17, 3)
    labelled = keypoints[:, :, 2] > 0
    corner, size = boxes[:, None, :2], boxes[:, None, 2:]
    inside = np.all((keypoints[:, :, :2] >= corner) & (keypoints[:, :, :2] <= corner + size), axis=-1)
    assert inside[labelled].mean() > 0.9, "boxes and poses belong together"
