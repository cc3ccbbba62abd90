import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from file_identity import identity
from pose2seg import InputError, Pose2Seg
from pose2seg.commands import cli, predict, templates
from pose2seg.commands import options as shared_options
from pose2seg.data.poses import Person
from pose2seg.data.poses.estimators import (
    POSE_ESTIMATOR_FILES,
    POSE_ESTIMATORS,
    EstimatorKind,
    PoseEstimator,
)
from pose2seg.prediction.predict import Prediction
from pose2seg.prediction.settings import ESTIMATOR_WEIGHTS, require_same, settings_of
from predict_command import arguments


def test_predict_writes_masks_and_a_summary(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlays = ["--overlays", str(files / "overlays"), "--report", str(files / "page.html")]
    assert cli.main([*arguments(files, ""), *overlays]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{files}/masks.json: 1 mask from 1 image in ")
    assert captured.err.endswith(f"; 1 skipped that {files}/poses.json does not list\n")
    assert captured.out == ""
    (result,) = json.loads((files / "masks.json").read_text())
    assert (result["image_id"], result["score"], result["segmentation"]["size"]) == (1, 0.5, [40, 30])
    assert [path.name for path in (files / "overlays").iterdir()] == ["1.png"]
    assert "1 image \N{MIDDLE DOT} 1 person" in (files / "page.html").read_text("utf-8")


def test_without_an_output_the_results_are_named_after_the_images(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = arguments(files, "1.png")
    at = words.index("--output")
    del words[at : at + 2]
    assert cli.main(words) == 0
    assert capsys.readouterr().err.startswith("1_masks.json: 1 mask from 1 image in ")
    before = (tmp_path / "1_masks.json").read_bytes()
    assert cli.main(words) == 2
    assert "1_masks.json: exists; --output 1_masks.json replaces it" in capsys.readouterr().err
    assert cli.main([*words, "--output", "1_masks.json", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_hyphen_is_the_standard_output(files: Path, tmp_path: Path) -> None:
    words = arguments(files, "1.png", output="-", device="cpu")
    command = [sys.executable, "-m", "pose2seg", *words]
    result = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert [each["image_id"] for each in json.loads(result.stdout)] == [1]
    assert not list(tmp_path.iterdir())


def test_each_output_has_its_option(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = arguments(files, "1.png", output=str(tmp_path / "masks.json"))
    assert cli.main([*words, "--soft-edges"]) == 2
    assert "--soft-edges needs --cutouts FOLDER" in capsys.readouterr().err
    folders = ("masks", "indexed-masks", "cutouts", "yolo")
    forms = [word for name in folders for word in (f"--{name}", str(tmp_path / name))]
    assert cli.main([*words, *forms, "--soft-edges", "--polygons", str(tmp_path / "polygons.json")]) == 0
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert written == {
        "masks.json",
        "masks/1_1.png",
        "indexed-masks/1.png",
        "cutouts/1_1.png",
        "yolo/1.txt",
        "polygons.json",
    }


@pytest.mark.parametrize(
    ("inputs", "replaced", "message"),
    [
        (("1.png", "no.png"), {}, "images/no.png: no such file or folder"),
        (("2.png",), {}, "images/2.png: the poses do not list this image"),
        (("*.png",), {}, "images/*.png: no such file or folder; patterns are not supported: give the"),
        (("1.png",), {"overlays": "-"}, "argument --overlays: must be a path, got '-' (use ./- for a file"),
        (("1.png",), {"device": "99"}, "--device 99: "),
        (("1.png",), {"poses": "no.json"}, "no.json: No such file or directory"),
        (
            ("1.png",),
            {"poses": "."},
            ".: expected a folder of .json files (OpenPose, MMPose, Ultralytics), of YOLO's .txt or of rtmlib's "
            ".npz, got none of these",
        ),
        (("1.png",), {"templates": "no.json"}, "no.json: No such file or directory"),
        (("1.png",), {"weights": "no.pth"}, "no.pth: No such file or directory"),
        (("1.png",), {"weights": "no.safetensors"}, "no.safetensors: No such file or directory"),
        (("1.png",), {"weights": __file__}, "test_cli.py: not a checkpoint that torch can load"),
        (("1.png",), {"output": "."}, ".: must be a file, got a folder"),
        (("1.png",), {"report": "."}, ".: must be a file, got a folder"),
        (("1.png",), {"overlays": __file__}, "test_cli.py: must be a folder, got a file"),
        (
            ("1.png",),
            {"output": "a\0b"},
            r"argument --output: must be a path without NUL bytes, got 'a\x00b'",
        ),
        (
            ("1.png",),
            {"output": "folder/"},
            "argument --output: must be a file, got the folder folder/",
        ),
        (("1.png",), {"report": "folder/"}, "argument --report: must be a file, got the folder folder/"),
        (("1.png",), {"output": "x" * 5000}, f"{'x' * 5000}: File name too long"),
        (("1.png",), {"device": "gpu"}, "--device must be auto, cpu, cuda, cuda:N or N, got gpu"),
        (("1.png",), {"device": "meta"}, "--device must be auto, cpu, cuda, cuda:N or N, got meta"),
        (
            ("1.png",),
            {"batch-size": "0"},
            "argument --batch-size: must be an integer from 1 to 999999999, got '0'",
        ),
        (("1.png",), {"batch-size": "9" * 5000}, "must be an integer from 1 to 999999999, got '999"),
        (("1.png",), {"threshold": "nan"}, "argument --threshold: must be a number from 0 to 1, got 'nan'"),
        ((), {}, "the following arguments are required: IMAGE_OR_FOLDER"),
    ],
)
def test_errors_that_the_user_can_fix_are_one_line_and_exit_code_2(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    inputs: tuple[str, ...],
    replaced: dict[str, str],
    message: str,
) -> None:
    assert cli.main(arguments(files, *inputs, **replaced)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pose2seg: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize("option", ["poses", "weights", "templates"])
def test_inputs_are_never_replaced(files: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    words = arguments(files, "1.png")
    path = Path(words[words.index(f"--{option}") + 1])
    before = identity(path)
    assert cli.main(arguments(files, "1.png", output=str(path))) == 2
    assert capsys.readouterr().err == (f"pose2seg: error: {path}: the masks would replace the input {path}\n")
    assert identity(path) == before


def test_the_templates_are_those_of_the_weights_by_default(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[Pose2Seg] = []

    def note(model: Pose2Seg, *_: object, **__: object) -> Prediction:
        models.append(model)
        return Prediction(masks=0, images=0, left_out=0, done_before=0)

    monkeypatch.setattr(predict, "predict_to_file", note)
    (tmp_path / "other.json").write_text(json.dumps({"templates": [[0.25, 0.75, 1.0] * 17]}))
    words = arguments(files, "1.png", templates=str(tmp_path / "other.json"))
    at = words.index("--templates")
    assert cli.main(words[:at] + words[at + 2 :]) == 0
    assert cli.main(words) == 0
    assert [model.templates[0, 0].tolist() for model in models] == [[0.5, 0.5, 2], [0.25, 0.75, 1]]


def test_official_weights_need_their_templates(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "official.pkl"
    torch.save({"backbone.conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    words = arguments(files, "1.png", weights=str(path))
    at = words.index("--templates")
    assert cli.main(words[:at] + words[at + 2 :]) == 2
    assert f"{path}: has no pose templates, and none were given" in capsys.readouterr().err


def test_poses_come_from_a_pose_estimator(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made_for(_: str, device: torch.device, joint_threshold: float) -> PoseEstimator:
        thresholds.append(joint_threshold)
        return lambda image: [Person(np.array([[5, 5, 2]] * 17, np.float32), score=0.25)]

    thresholds: list[float] = []
    monkeypatch.setitem(POSE_ESTIMATORS, "keypoint-rcnn", EstimatorKind(made_for, joint_threshold=3.0))
    words = arguments(files, "")
    at = words.index("--poses")
    words[at : at + 2] = ["--pose-estimator", "keypoint-rcnn"]
    assert cli.main(words) == 0
    assert capsys.readouterr().err.startswith(f"{files}/masks.json: 2 masks from 2 images in ")
    results = json.loads((files / "masks.json").read_text())
    assert [(result["image_id"], result["score"]) for result in results] == [(1, 0.25), (2, 0.25)]
    assert cli.main([*words, "--joint-threshold", "-1.5"]) == 0
    assert thresholds == [3.0, -1.5]


def test_poses_come_from_the_file_of_a_pose_estimator(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made_from(name: str, _: torch.device, __: float) -> PoseEstimator:
        names.append(name)
        return lambda image: [Person(np.array([[5, 5, 2]] * 17, np.float32), score=0.25)]

    names: list[str] = []
    monkeypatch.setitem(POSE_ESTIMATOR_FILES, ".onnx", EstimatorKind(made_from, joint_threshold=0.6))
    network = tmp_path / "network.onnx"
    network.write_bytes(b"network")
    words = arguments(files, "1.png")
    at = words.index("--poses")
    words[at : at + 2] = ["--pose-estimator", str(network)]
    assert cli.main(words) == 0
    assert names == [str(network)]
    capsys.readouterr()

    words[words.index("--output") + 1] = str(network)  # which is an input
    assert cli.main(words) == 2
    assert f"{network}: the masks would replace the input {network}" in capsys.readouterr().err
    assert network.read_bytes() == b"network"


def test_a_prediction_only_resumes_with_the_same_pose_estimator(tmp_path: Path) -> None:
    """An estimator is identified by its name and, if it is a file, also by its content."""

    def settings(name: str, content: bytes) -> dict[str, Any]:
        (tmp_path / name).write_bytes(content)
        return settings_of(
            tmp_path / "masks.json",
            beside=(),
            threshold=0.5,
            joint_threshold=0.6,
            pose_estimator=name,
            precision="float32",
            flip=False,
            inputs={ESTIMATOR_WEIGHTS: tmp_path / name},
        )

    saved = tmp_path / "settings.json"
    saved.write_text(json.dumps(settings("a.onnx", b"1")))
    require_same(saved, settings("a.onnx", b"1"))
    with pytest.raises(InputError, match=r"--pose-estimator has changed from 'a.onnx' to 'b.onnx'"):
        require_same(saved, settings("b.onnx", b"1"))
    with pytest.raises(InputError, match="the weights of the pose estimator have changed"):
        require_same(saved, settings("a.onnx", b"2"))


@pytest.mark.parametrize("name", ["openpose", "network.pth", ""])
def test_an_unknown_pose_estimator_is_rejected(
    files: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words = arguments(files, "1.png")
    at = words.index("--poses")
    words[at : at + 2] = ["--pose-estimator", name]
    assert cli.main(words) == 2
    must = "must be keypoint-rcnn, rtmo, rtmpose, or a file ending in .pt or .onnx"
    assert f"--pose-estimator: {must}, got {name!r} (see " in capsys.readouterr().err


@pytest.mark.parametrize(("inputs", "absent"), [("", True), ("1.png", False)])
def test_missing_images_of_the_poses_are_counted(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], inputs: str, absent: bool
) -> None:
    poses = json.loads((files / "poses.json").read_text())
    poses += [{**poses[0], "image_id": name} for name in ("gone", "gone too", "2")]
    (tmp_path / "poses.json").write_text(json.dumps(poses))
    assert cli.main(arguments(files, inputs, poses=str(tmp_path / "poses.json"))) == 0
    assert capsys.readouterr().err.endswith("; 2 images of the poses not found\n") == absent


def test_files_of_poses_without_an_image_are_counted(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = " ".join(["0 0.5 0.5 0.1 0.1", *(["0.5 0.5 2"] * 17)])
    for name in ("1.txt", "gone.txt"):
        (tmp_path / name).write_text(line)
    assert cli.main(arguments(files, "", poses=str(tmp_path))) == 0
    assert capsys.readouterr().err.endswith("; 1 file of poses without an image, such as 'gone.txt'\n")


def test_folders_without_images_are_explained(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    words = arguments(files, poses=str(files / "poses.json"))
    assert cli.main([words[0], str(tmp_path / "images"), *words[1:]]) == 2
    folder = tmp_path / "images"
    assert capsys.readouterr().err == (
        f"pose2seg: error: no images found in {folder}; give the folders in it, such as {folder}/train, which "
        "are not searched\n"
    )


@pytest.mark.parametrize(
    ("kernels", "gpus", "expected"),
    [("13.0", 1, "cuda"), ("13.0", 0, "cpu"), (None, 1, "cpu"), (None, 0, "cpu")],
)
def test_the_device_is_cuda_if_there_are_a_gpu_and_kernels(
    monkeypatch: pytest.MonkeyPatch, kernels: str | None, gpus: int, expected: str
) -> None:
    pretend(monkeypatch, kernels, gpus)
    assert shared_options.find_device("auto") == torch.device(expected)


@pytest.mark.parametrize(
    ("kernels", "gpus", "name", "message"),
    [
        (
            None,
            1,
            "cuda",
            "--device cuda: pose2seg_ops is built without CUDA kernels; build it with nvcc on the PATH",
        ),
        ("13.0", 0, "cuda", "--device cuda: torch sees 0 CUDA devices"),
        ("13.0", 2, "cuda:2", "--device cuda:2: torch sees 2 CUDA devices"),
    ],
)
def test_an_unavailable_device_is_explained(
    monkeypatch: pytest.MonkeyPatch, kernels: str | None, gpus: int, name: str, message: str
) -> None:
    pretend(monkeypatch, kernels, gpus)
    with pytest.raises(InputError) as raised:
        shared_options.find_device(name)
    assert str(raised.value) == message


def pretend(monkeypatch: pytest.MonkeyPatch, kernels: str | None, gpus: int) -> None:
    """Simulates pose2seg_ops with the `kernels` of a CUDA version, on a machine with `gpus` GPUs."""
    monkeypatch.setattr(shared_options, "CUDA_VERSION", kernels)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


def exhaust_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    "exhaust",
    [lambda: torch.empty(2**60, dtype=torch.uint8), lambda: np.empty(2**60, np.uint8), exhaust_a_gpu],
    ids=["torch on the CPU", "numpy", "torch on a GPU"],
)
def test_a_lack_of_memory_is_one_line(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    exhaust: Callable[[], object],
) -> None:
    monkeypatch.setattr(predict, "predict_to_file", lambda *_, **__: exhaust())
    assert cli.main(arguments(files, "1.png")) == 2
    assert capsys.readouterr().err == "pose2seg: error: out of memory: try a smaller --batch-size\n"


def test_a_lack_of_memory_only_suggests_existing_options(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "read_annotated_people", lambda _: exhaust_a_gpu())
    assert cli.main(["templates", str(files / "poses.json"), "--output", str(files / "t.json")]) == 2
    assert capsys.readouterr().err == "pose2seg: error: out of memory\n"


def test_internal_errors_are_not_hidden(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(predict, "predict_to_file", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        cli.main(arguments(files, "1.png"))


def test_malformed_json_is_located(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "poses.json"
    path.write_text('[\n{"image_id": 1,}]')
    assert cli.main(arguments(files, "1.png", poses=str(path))) == 2
    assert f"{path}: not JSON: " in (error := capsys.readouterr().err)
    assert "at line 2, column " in error


def test_a_damaged_image_is_one_line(files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "1.png"
    path.write_bytes((files / "images" / "1.png").read_bytes()[:20])
    assert cli.main([*arguments(files), str(path)]) == 2
    assert capfd.readouterr().err == f"pose2seg: error: {path}: not an image that OpenCV can read\n"


def test_interruption_is_exit_code_130(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict_to_file", interrupt)
    assert cli.main(arguments(files, "1.png")) == 130
