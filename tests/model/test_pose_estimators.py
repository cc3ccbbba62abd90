import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pose2seg import InputError
from pose2seg.common.torchvision import torchvision_hint
from pose2seg.data.poses.estimators import EstimatedPoses, KeypointRCNN

CPU = torch.device("cpu")


@pytest.fixture
def detection() -> Any:
    """Returns torchvision.models.detection; skips the test if it does not fit the installed torch."""
    try:
        from torchvision.models import detection
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no torchvision that fits torch {torch.__version__}: {error}")
    return detection


@pytest.fixture
def weights(detection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the path at which torchvision keeps downloaded weights, which does not exist yet."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    name = Path(detection.KeypointRCNN_ResNet50_FPN_Weights.DEFAULT.url).name
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints" / name


def test_keypoint_rcnn_with_random_weights_equals_torchvision(
    detection: Any, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = detection.keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    model.roi_heads.box_predictor.cls_score.bias.data[1] = 3  # people everywhere
    torch.save(model.state_dict(), weights)
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)

    people = KeypointRCNN(CPU, 0.5)(image)

    same = detection.keypointrcnn_resnet50_fpn(weights="DEFAULT", box_score_thresh=KeypointRCNN.MINIMUM_SCORE)
    rgb = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1).float() / 255
    with torch.inference_mode():
        (found,) = same.eval()([rgb])
    seen = (found["keypoints_scores"] >= 0.5).numpy()
    assert seen.any()
    assert not seen.all()
    kept = seen.any(axis=1)
    assert len(people) == kept.sum() > 0
    np.testing.assert_array_equal(np.stack([p.keypoints[:, 2] for p in people]), 2 * seen[kept])
    positions = np.stack([p.keypoints[:, :2] for p in people])
    expected = np.where(seen[kept][:, :, None], found["keypoints"][kept][:, :, :2].numpy(), 0)
    np.testing.assert_allclose(positions, expected, rtol=0, atol=1e-3)
    assert [p.score for p in people] == pytest.approx(found["scores"][kept].tolist())


def test_the_joints_of_torchvision_are_in_the_order_of_coco(detection: Any) -> None:
    from pose2seg_ops import COCO_KEYPOINTS

    names = detection.KeypointRCNN_ResNet50_FPN_Weights.DEFAULT.meta["keypoint_names"]
    assert tuple(names) == COCO_KEYPOINTS


def test_weights_that_cannot_be_downloaded_are_reported_with_their_path(
    detection: Any, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(
        InputError, match=rf"cannot be loaded: no network; download .*{weights.name} to {weights.parent}"
    ):
        KeypointRCNN(CPU, 2.0)


def test_damaged_weights_are_reported(detection: Any, weights: Path) -> None:
    weights.write_bytes(b"damaged")
    with pytest.raises(InputError, match="the weights of Keypoint R-CNN cannot be loaded"):
        KeypointRCNN(CPU, 2.0)


@pytest.mark.parametrize(
    "error", [ImportError("none"), RuntimeError("operator torchvision::nms does not exist")]
)
def test_without_torchvision_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> None:
            raise error

    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", Broken("torchvision.models"))
    with pytest.raises(InputError, match=rf"\({error}\): pip install torchvision"):
        KeypointRCNN(CPU, 2.0)


def test_estimated_poses_are_a_source_of_poses() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    seen = []

    def estimator(pixels: Any) -> list[Any]:
        seen.append(pixels)
        return []

    found = EstimatedPoses(estimator).find(Path("007.png"), (6, 9), image)
    assert (found.image_id, found.size, found.people) == (7, (6, 9), [])
    np.testing.assert_array_equal(seen, [image])


@pytest.mark.parametrize(
    ("torch_version", "command"),
    [
        (
            "2.13.0+cpu",
            "pip install torchvision==0.28.0 torch==2.13.0+cpu --index-url https://download.pytorch.org/whl/cpu",
        ),
        (
            "2.10.1+cu128",
            "pip install torchvision==0.25.1 torch==2.10.1+cu128 --index-url https://download.pytorch.org/whl/cu128",
        ),
        ("2.12.1", "pip install torchvision==0.27.1 torch==2.12.1"),
        ("2.14.0.dev20260101+cpu", None),
        ("2.12.0a0+git1234", None),
        ("3.0.0", None),
    ],
)
def test_torchvision_is_installed_without_another_torch(torch_version: str, command: str | None) -> None:
    """Each release of torchvision is for one release of torch: 0.25 for 2.10, and so on."""
    none = f"none is published for torch {torch_version}: build it from source for this torch"
    assert torchvision_hint(torch_version) == (command or none)
