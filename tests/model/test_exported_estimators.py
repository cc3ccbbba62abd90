"""Tests of pose estimators in files: networks with random weights that Ultralytics exports, and RTMO."""

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from paths import ROOT
from pose2seg import InputError
from pose2seg.data.poses.estimators import Detections, open_estimator
from pose2seg.data.poses.estimators.onnx_models import RTMO, YoloPose, open_onnx
from pose2seg.data.poses.estimators.ultralytics_models import UltralyticsPose

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CPU = torch.device("cpu")
Image = npt.NDArray[np.uint8]

#: Heights and widths: wide, tall, small, equal to the network's, and with a border of odd size.
SIZES = [(97, 203), (240, 101), (31, 40), (160, 224), (333, 480)]
IMAGE = ROOT / "docs" / "overview.jpg"


def images() -> Iterator[Image]:
    image = cv2.imread(str(IMAGE))
    assert image is not None
    for height, width in SIZES:
        yield np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


# YOLO


@pytest.fixture(scope="module")
def ultralytics(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns Ultralytics with settings in a folder of the test, and without network access."""
    os.environ.setdefault("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("settings")))
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    try:
        import ultralytics
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
        pytest.skip(f"no Ultralytics that fits torch {torch.__version__} (extra interop): {error}")
    return ultralytics


def build(ultralytics: Any, configuration: str, folder: Path, seed: int = 0) -> Path:
    """Returns a .pt file of a network for one class with random weights, configured by Ultralytics."""
    torch.manual_seed(seed)
    model = ultralytics.YOLO(configuration)
    network = model.model
    config = {**network.yaml, "nc": 1}
    network = type(network)(config, verbose=False)
    network.args = model.model.args
    network.names = {0: "person"}
    _normalise(network)
    model.model = network.eval()
    path = folder / f"{Path(configuration).stem}.pt"
    torch.save({"model": network, "train_args": {"task": "pose", "imgsz": 160}}, path)
    return path


def _normalise(network: Any) -> None:
    """Sets batch norms to the statistics of the images, as a training would, and spreads the scores.

    The output then depends on the image, and the scores are on both sides of the threshold.
    """
    for each in network.modules():
        if isinstance(each, torch.nn.BatchNorm2d):
            each.momentum = None  # the mean of all batches
            each.reset_running_stats()
    batch = torch.from_numpy(np.stack([cv2.resize(image, (224, 160)) for image in images()])) / 255
    head = network.model[-1]
    with torch.no_grad():
        network.train()(batch.permute(0, 3, 1, 2))
        for branch in (*head.cv3, *(getattr(head, "one2one_cv3", None) or ())):
            branch[-1].bias.fill_(-1)
            branch[-1].weight.copy_(torch.randn_like(branch[-1].weight) / branch[-1].weight[0].numel() ** 0.5)


EXPORTS = {
    "v8": ("yolov8n-pose.yaml", {}),
    "11": ("yolo11n-pose.yaml", {}),
    "dynamic": ("yolo11n-pose.yaml", {"dynamic": True}),
    "11 with suppression": ("yolo11n-pose.yaml", {"nms": True}),
    "26": ("yolo26n-pose.yaml", {}),
    "26 end to end": ("yolo26n-pose.yaml", {"nms": False}),
}


@pytest.fixture(scope="module", params=list(EXPORTS.values()), ids=list(EXPORTS))
def exported(
    request: pytest.FixtureRequest, ultralytics: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    configuration, options = request.param
    path = build(ultralytics, configuration, tmp_path_factory.mktemp("yolo"))
    made = ultralytics.YOLO(path).export(format="onnx", imgsz=(160, 224), simplify=False, **options)
    return Path(made)


def require_same(found: Detections, result: Any) -> None:
    """Compares detections with a result of Ultralytics."""
    assert len(found.scores) == len(result) > 0
    np.testing.assert_allclose(found.boxes, result.boxes.xyxy.numpy(), rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.scores, result.boxes.conf.numpy(), rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.joints, result.keypoints.data.numpy(), rtol=0, atol=1e-3)


def test_an_exported_yolo_equals_ultralytics(ultralytics: Any, exported: Path) -> None:
    own = ultralytics.YOLO(exported, task="pose")
    ours = open_onnx(exported, CPU, 0.5)
    assert isinstance(ours, YoloPose)
    for image in images():
        # Ultralytics uses the size in the file only if that of the network is dynamic.
        (result,) = own.predict(image, imgsz=[160, 224], verbose=False)
        require_same(ours.detect(image), result)


def test_the_joint_threshold_applies_to_an_exported_yolo(exported: Path) -> None:
    image = next(images())
    source = open_estimator(str(exported), CPU, 0.5)
    found = open_onnx(exported, CPU, 0.5).detect(image)
    people = source.find(Path("007.png"), image.shape[:2], image).people
    with_joints = (found.joints[:, :, 2] >= 0.5).any(axis=1)
    assert 0 < len(people) == with_joints.sum()
    np.testing.assert_allclose([person.score for person in people], found.scores[with_joints])
    for person, joints in zip(people, found.joints[with_joints], strict=True):
        visible = (joints[:, 2] >= 0.5) & joints[:, :2].any(axis=1)
        np.testing.assert_array_equal(person.keypoints[:, 2], np.where(visible, 2, 0))
        np.testing.assert_array_equal(person.keypoints[visible, :2], joints[visible, :2])


def test_a_pt_file_equals_ultralytics(
    ultralytics: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = build(ultralytics, "yolo11n-pose.yaml", tmp_path)
    capsys.readouterr()
    ours = UltralyticsPose(path, CPU, 0.5)
    own = ultralytics.YOLO(path)
    for image in images():
        (result,) = own.predict(image, verbose=False)
        require_same(ours.detect(image), result)


@pytest.mark.parametrize("name", ["gone.pt", "damaged.pt"])
def test_a_pt_file_that_cannot_be_loaded_is_reported(ultralytics: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "damaged.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"{name}: Ultralytics cannot load it: "):
        open_estimator(str(tmp_path / name), CPU)


def test_a_pt_file_of_another_task_is_rejected(ultralytics: Any, tmp_path: Path) -> None:
    network = ultralytics.YOLO("yolo11n.yaml").model
    torch.save({"model": network, "train_args": {"task": "detect"}}, tmp_path / "yolo11n.pt")
    with pytest.raises(InputError, match="must be a pose model of 17 joints, got one for detect"):
        open_estimator(str(tmp_path / "yolo11n.pt"), CPU)


def test_without_ultralytics_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(InputError, match=r"yolo.pt: needs Ultralytics, .* pip install ultralytics"):
        open_estimator(str(tmp_path / "yolo.pt"), CPU)


# RTMO and RTMPose, as MMDeploy exports them


class Detector(torch.nn.Module):
    """A network that returns 25 boxes with scores, (1, 25, 5), and RTMO's joints, depending on the image."""

    def __init__(self, joints: int, highest_score: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 5 + 3 * joints, 4, 4)
        self.joints = joints
        self.highest_score = highest_score

    def forward(self, image: torch.Tensor) -> Any:
        grid = torch.nn.functional.avg_pool2d(image, image.shape[2] // 20) / 16
        numbers = ((5 * self.layer(grid)).sin() + 1).flatten(2).transpose(1, 2) / 2  # from 0 to 1
        corner, size = 400 * numbers[:, :, :2], 60 + 150 * numbers[:, :, 2:4]
        dets = torch.cat([corner, corner + size, self.highest_score * numbers[:, :, 4:5]], dim=2)
        if not self.joints:
            return dets
        joints = numbers[:, :, 5:].reshape(1, -1, self.joints, 3)
        return dets, joints * torch.tensor([600.0, 600.0, 1.0])


class SimCC(torch.nn.Module):
    """A network with the output of RTMPose for a box: 17 joints in bins of x and of y."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.x, self.y = torch.nn.Linear(48, 17 * 384), torch.nn.Linear(48, 17 * 512)

    def forward(self, image: torch.Tensor) -> Any:
        seen = torch.nn.functional.adaptive_avg_pool2d(image, 4).flatten(1)
        return self.x(seen).reshape(1, 17, 384), self.y(seen).reshape(1, 17, 512)


def export(network: torch.nn.Module, size: tuple[int, int], path: Path, outputs: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = 1, 3, *size
        torch.onnx.export(
            network.eval(),
            (torch.zeros(shape),),
            str(path),
            input_names=["input"],
            output_names=outputs,
            dynamo=False,
        )
    return path


@pytest.fixture
def rtmlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns rtmlib, which keeps weights in a folder of the test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return pytest.importorskip("rtmlib", reason="no rtmlib (extra interop)")


def kept(tmp_path: Path, url: str) -> Path:
    """Returns the path at which rtmlib keeps the network of a URL."""
    return tmp_path / "torch/hub/checkpoints" / f"{Path(url).name.partition('.')[0]}.onnx"


@pytest.fixture
def rtmo(rtmlib: Any, tmp_path: Path) -> Path:
    path = kept(tmp_path, rtmlib.Body.RTMO_MODE["balanced"]["pose"])
    return export(Detector(17), (640, 640), path, ["dets", "keypoints"])


def test_an_exported_rtmo_equals_rtmlib(rtmlib: Any, rtmo: Path) -> None:
    own = rtmlib.RTMO(str(rtmo))
    ours = open_onnx(rtmo, CPU, 0.5)
    assert isinstance(ours, RTMO)
    for image in images():
        height, width = image.shape[:2]
        # Sides that fit the network exactly: rtmlib rounds others down, and then scales as if it had not.
        image = np.asarray(cv2.resize(image, (640 * 2, 320 * 2) if width > height else (320, 640)), np.uint8)
        positions, confidences = own(image)
        found = ours.detect(image)
        assert 1 < len(positions) == len(found.joints) < 25
        np.testing.assert_allclose(found.joints[:, :, :2], positions, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.joints[:, :, 2], confidences, rtol=0, atol=1e-6)
        assert (found.scores > RTMO.MINIMUM_SCORE).all()


def test_rtmo_by_name_is_that_of_rtmlib(rtmlib: Any, rtmo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = open_estimator("rtmo", CPU, 0.5)
    assert "downloading" not in capsys.readouterr().err  # it exists
    own = rtmlib.Body(pose="rtmo")
    for image in images():
        positions, confidences = own(image)
        people = source.find(Path("1.png"), image.shape[:2], image).people
        expected = np.where(confidences[:, :, None] >= 0.5, positions, 0)
        np.testing.assert_allclose([person.keypoints[:, :2] for person in people], expected, atol=1e-3)
        means = [each[each >= 0.5].mean() for each in confidences]
        assert [person.score for person in people] == pytest.approx(means)


def test_rtmpose_by_name_is_that_of_rtmlib(rtmlib: Any, tmp_path: Path) -> None:
    urls = rtmlib.Body.MODE["balanced"]
    detector = export(Detector(0), (640, 640), kept(tmp_path, urls["det"]), ["dets"])
    export(SimCC(), (256, 192), kept(tmp_path, urls["pose"]), ["simcc_x", "simcc_y"])
    source = open_estimator("rtmpose", CPU, 0.5)
    own = rtmlib.Body()
    image = next(images())
    positions, confidences = own(image)
    people = source.find(Path("1.png"), image.shape[:2], image).people
    assert len(people) == len(positions) > 1
    expected = np.where(confidences[:, :, None] >= 0.5, positions, 0)
    np.testing.assert_allclose([person.keypoints[:, :2] for person in people], expected, atol=1e-3)

    # Without people in the image, there must not be one person as large as the image.
    export(Detector(0, highest_score=0.01), (640, 640), detector, ["dets"])
    source = open_estimator("rtmpose", CPU, 0.5)
    assert source.find(Path("1.png"), image.shape[:2], image).people == []


def test_rtmlib_without_a_network_is_reported(
    rtmlib: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("rtmlib.tools.file.download_url_to_file", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(
        InputError, match=r"the weights of rtmo cannot be loaded: no network; download .*\.zip"
    ):
        open_estimator("rtmo", CPU)
    assert "downloading https://download.openmmlab.com/" in capsys.readouterr().err


def test_without_rtmlib_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    with pytest.raises(InputError, match=r"rtmlib cannot be imported \(.*\): pip install rtmlib"):
        open_estimator("rtmpose", CPU)
