import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pose2seg import Pose2Seg, cli, load_templates, save_checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that `predict` needs: random weights, a person in 1.png, and 2.png, which poses.json lacks."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "images").mkdir()
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(folder / "images" / name), np.full((40, 30, 3), 90, np.uint8))
    keypoints = [number for j in range(17) for number in (5 + j, 2 * j, 2)]
    (folder / "poses.json").write_text(json.dumps([{"image_id": 1, "keypoints": keypoints, "score": 0.5}]))
    (folder / "templates.json").write_text(json.dumps({"templates": [[0.5, 0.5, 2.0] * 17]}))
    torch.manual_seed(0)
    save_checkpoint(Pose2Seg(load_templates(folder / "templates.json")), folder / "model.safetensors")
    return folder


def arguments(files: Path, *inputs: str, **replaced: str) -> list[str]:
    options = {
        "poses": str(files / "poses.json"),
        "weights": str(files / "model.safetensors"),
        "templates": str(files / "templates.json"),
        "output": str(files / "masks.json"),
        "device": "cpu",
    } | replaced
    paths = [str(files / "images" / name) for name in inputs]
    return ["predict", *paths, *(word for name, value in options.items() for word in (f"--{name}", value))]


def test_predict_writes_masks_and_says_so(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*arguments(files, ""), "--overlays", str(files / "overlays")]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{files}/masks.json: 1 masks from 1 images in ")
    assert captured.out.endswith(f"; 1 skipped that {files}/poses.json does not list\n")
    assert captured.err == ""
    (result,) = json.loads((files / "masks.json").read_text())
    assert (result["image_id"], result["score"], result["segmentation"]["size"]) == (1, 0.5, [40, 30])
    assert [path.name for path in (files / "overlays").iterdir()] == ["1.png"]


@pytest.mark.parametrize(
    ("inputs", "replaced", "message"),
    [
        (("1.png", "no.png"), {}, "images/no.png: no such file or folder"),
        (("2.png",), {}, "images/2.png: the poses file does not list this image"),
        (("1.png",), {"poses": "no.json"}, "no.json: No such file or directory"),
        (("1.png",), {"poses": "."}, ".: Is a directory"),
        (("1.png",), {"templates": "no.json"}, "no.json: No such file or directory"),
        (("1.png",), {"weights": "no.pth"}, "no.pth: No such file or directory"),
        (("1.png",), {"weights": "no.safetensors"}, "No such file or directory: no.safetensors"),
        (("1.png",), {"weights": __file__}, "test_cli.py: not a checkpoint that torch can load"),
        (("1.png",), {"output": "."}, ".: is a folder, expected the name of a file"),
        (("1.png",), {"device": "gpu"}, "--device must be auto, cpu, cuda or cuda:N, got gpu"),
        (("1.png",), {"device": "meta"}, "--device must be auto, cpu, cuda or cuda:N, got meta"),
        (
            ("1.png",),
            {"device": "cuda:99"},
            f"--device cuda:99: torch sees {torch.cuda.device_count()} CUDA devices",
        ),
        (("1.png",), {"batch-size": "0"}, "argument --batch-size: must be a positive integer, got 0"),
        (("1.png",), {"threshold": "nan"}, "argument --threshold: must be a number from 0 to 1, got nan"),
        ((), {}, "the following arguments are required: IMAGE_OR_FOLDER"),
    ],
)
def test_what_the_user_can_put_right_is_one_line_and_exit_code_2(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    inputs: tuple[str, ...],
    replaced: dict[str, str],
    message: str,
) -> None:
    try:
        code: object = cli.main(arguments(files, *inputs, **replaced))
    except SystemExit as exit:  # from argparse
        code = exit.code
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pose2seg: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


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

    monkeypatch.setattr(cli, "predict_to_file", interrupt)
    assert cli.main(arguments(files, "1.png")) == 130


def test_help_names_every_option_and_its_default() -> None:
    run = [sys.executable, "-c", "from pose2seg.cli import main; main()", "predict", "--help"]
    text = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    for option in (
        "poses",
        "weights",
        "templates",
        "output",
        "overlays",
        "device",
        "batch-size",
        "threshold",
    ):
        assert f"--{option} " in text
    assert "(default: 4)" in text
    assert "(default: 0.5)" in text
    assert "examples:" in text
