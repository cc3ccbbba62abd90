import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pose2seg import InputError, load_model, load_templates, save_checkpoint
from pose2seg.commands import cli
from pose2seg.common.images import read_image
from pose2seg.data.posed_images import read_posed_image
from pose2seg.prediction.demo import demo_image, time_prediction
from small_model import small_model

# An outline of the person, drawn by hand.
OUTLINE = [
    *[(175, 84), (218, 43), (254, 23), (303, 41), (345, 66), (353, 85), (366, 89), (372, 140), (368, 185)],
    *[(376, 195), (366, 240), (350, 300), (330, 315), (355, 338), (406, 360), (457, 373), (490, 391)],
    *[(511, 442), (511, 599), (13, 599), (25, 457), (38, 406), (56, 381), (102, 363), (150, 350), (190, 322)],
    *[(195, 297), (162, 274), (162, 239), (154, 203), (155, 178), (151, 122), (157, 96)],
]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Writes a small random model."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    torch.manual_seed(0)
    save_checkpoint(small_model(load_templates()), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_the_demo_writes_an_overlay_and_prints_the_time_of_each_stage(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--weights", str(weights), "--device", "cpu"]) == 0
    *times, summary = capsys.readouterr().out.splitlines()
    stages = [
        "image",
        "model",
        "letterbox",
        "backbone",
        "pose fit and alignment",
        "segmentation head",
        "paste",
    ]
    assert [line[:24].strip() for line in times] == stages
    assert all(float(line[24:32]) >= 0 and line[32:35] == " ms" for line in times)
    parameters = sum(parameter.numel() for parameter in load_model(weights).parameters())
    assert f"  {parameters / 1e6:.1f} million parameters, on cpu in " in times[1]
    overlay, image = read_image(Path("pose2seg_demo.png")), read_image(demo_image().path)
    assert summary.startswith("pose2seg_demo.png: a mask of ")
    assert overlay.shape == image.shape
    assert 0 < (overlay != image).any(-1).mean() < 1


def test_the_pose_is_on_the_person() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    (pose,) = read_posed_image(demo_image()).poses.keypoints
    outline = np.array(OUTLINE, np.float32)
    joints = pose[pose[:, 2] > 0, :2]
    assert len(joints) == 9
    assert all(cv2.pointPolygonTest(outline, (float(x), float(y)), False) > 0 for x, y in joints)


def test_timing_a_prediction_does_not_change_it(weights: Path) -> None:
    model = small_model(load_templates()).eval()
    image = read_image(demo_image().path)
    keypoints = read_posed_image(demo_image()).poses.keypoints
    (masks,), seconds = time_prediction(model, [image], [keypoints])
    assert torch.equal(masks, model.predict([image], [keypoints])[0])
    assert len(seconds) == 5
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in (model.backbone, model.segnet))


def test_the_mask_of_the_bundled_model_is_on_the_person() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    image = read_image(demo_image().path)
    (masks,) = load_model().predict([image], [read_posed_image(demo_image()).poses.keypoints])
    person = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(person, [np.array(OUTLINE)], 1)
    ours, theirs = masks[0].numpy(), person > 0
    assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.85


def test_without_matplotlib_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.cbook", None)
    with pytest.raises(InputError, match=r"pip install 'pose2seg_ops\[demo\]'"):
        demo_image()
