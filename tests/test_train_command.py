"""`pose2seg train` on the command line."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people import draw_dataset, write_annotations
from pose2seg import Architecture, InputError, Pose2Seg, cli, load_model, load_templates, save_checkpoint
from pose2seg.commands.train import _initial_model
from pose2seg.templates import DEFAULT_TEMPLATES
from pose2seg.training import PRESETS, make_model
from tiny_training import TINY, assert_same, rows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset to train on; the presets are tiny."""
    monkeypatch.setitem(PRESETS, "modern", replace(TINY, epochs=1))
    (tmp_path / "images").mkdir()
    write_annotations(draw_dataset(tmp_path / "images"), tmp_path / "people.json")
    return tmp_path


def train(folder: Path, *options: str) -> int:
    words = ["train", str(folder / "people.json"), str(folder / "images"), "--output", str(folder / "run")]
    return cli.main([*words, "--device", "cpu", "--workers", "0", *options])


def test_train_writes_a_model_and_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validation = ["--validation", str(folder / "people.json"), str(folder / "images")]
    assert train(folder, *validation, "--epochs", "2", "--learning-rate", "0.01", "--seed", "3") == 0
    *epochs, summary = capsys.readouterr().err.splitlines()
    assert summary.startswith(f"{folder}/run: 2 epochs, done in ")
    losses = np.array([float(row["loss"]) for row in rows(folder / "run/losses.csv")]).reshape(2, -1)
    scores = [row["ap"] for row in rows(folder / "run/metrics.csv")]
    for epoch, (line, loss, score) in enumerate(zip(epochs, losses.mean(1), scores, strict=True), 1):
        assert line.startswith(f"epoch {epoch} of 2: loss {loss:.4f}, ap {float(score):.4f}, ")
    recipe = json.loads((folder / "run/recipe.json").read_text())
    assert (recipe["epochs"], recipe["learning_rate"], recipe["seed"], recipe["people"]) == (2, 0.01, 3, 4)
    assert [row["epoch"] for row in rows(folder / "run/metrics.csv")] == ["1", "2"]
    model = load_model(folder / "run/best.safetensors")
    assert torch.equal(model.templates, load_templates())


def test_a_training_is_resumed_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder, "--resume") == 0
    assert train(folder) == 2
    assert f"{folder}/run holds a training: resume it, or choose another folder" in capsys.readouterr().err
    assert train(folder, "--resume") == 0


def test_files_that_are_read_are_never_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run").mkdir()
    path = folder / "run/best.safetensors"
    save_checkpoint(make_model(TINY, load_templates()), path)
    before = path.read_bytes()
    assert train(folder, "--weights", str(path)) == 2
    assert f"{path}: the best model would replace the input {path}" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_output_must_be_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run").write_text("")
    assert train(folder) == 2
    assert "run: is a file, expected a folder" in capsys.readouterr().err


def test_bad_records_are_warnings_of_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((folder / "people.json").read_text())
    content["annotations"][1]["segmentation"] = [[1, 2, 3, 4]]
    (folder / "people.json").write_text(json.dumps(content))
    (folder / "images/2.png").write_bytes(b"damaged")
    assert (
        train(folder, "--epochs", "2", "--validation", str(folder / "people.json"), str(folder / "images"))
        == 0
    )
    # The validation images are the same, and evaluated twice; nothing is said again.
    first, second, *_ = lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("pose2seg: warning: ") for line in lines) == 2
    assert "annotations[1] (id 100) is left out: " in first
    assert second.endswith("2.png: not an image that OpenCV can read; image 2 is left out")


def initial_model(*options: str) -> Pose2Seg:
    arguments = cli._parser().parse_args(["train", "people.json", "images", "--output", "run", *options])
    return _initial_model(arguments, TINY)


def test_a_training_goes_on_with_the_model_of_a_file(tmp_path: Path) -> None:
    """Its templates, its size and its convention, not those of the package and the preset."""
    path = tmp_path / "first.safetensors"
    larger = replace(TINY, architecture=Architecture((1, 1, 1, 1), 8, 8, 8, 2), convention="pose2seg")
    first = make_model(larger, torch.rand(2, 17, 3))
    save_checkpoint(first, path)
    started = initial_model("--weights", str(path))
    assert (started.architecture, started.convention) == (larger.architecture, "pose2seg")
    assert torch.equal(started.templates, first.templates)
    assert_same(started.state_dict(), first.state_dict())
    other = initial_model("--weights", str(path), "--templates", str(DEFAULT_TEMPLATES))
    assert torch.equal(other.templates, load_templates())


def test_official_weights_want_templates(tmp_path: Path) -> None:
    path = tmp_path / "official.pkl"
    torch.save({"segnet.conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"official.pkl: holds no pose templates, and none were given"):
        initial_model("--weights", str(path))


def test_the_backbone_starts_from_imagenet(tmp_path: Path) -> None:
    first = make_model(replace(TINY, seed=5), load_templates())
    resnet = {k: v for k, v in first.backbone.state_dict().items() if not k.startswith("fpn_")}
    torch.save(resnet, tmp_path / "resnet.pth")
    started = initial_model("--imagenet-weights", str(tmp_path / "resnet.pth"))
    assert torch.equal(started.backbone.conv1.weight, first.backbone.conv1.weight)
    assert not torch.equal(started.segnet.conv1.weight, first.segnet.conv1.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--people", "1"], "people must be at least batch_size, 2: one of each image; got 1"),
        (["--learning-rate", "0"], "argument --learning-rate: must be a number above 0, got '0'"),
        (["--learning-rate", "x"], "argument --learning-rate: must be a number above 0, got 'x'"),
        (["--workers", "-1"], "argument --workers: must be an integer from 0 to 999999999, got '-1'"),
        (["--precision", "float8"], "argument --precision: invalid choice: 'float8'"),
        (["--batch-norm", "synchronised"], "synchronised batch norms need GPUs, got cpu"),
        (["--preset", "none"], "argument --preset: invalid choice: 'none'"),
        (
            ["--weights", "a", "--imagenet-weights", "b"],
            "argument --imagenet-weights: not allowed with argument",
        ),
        (["--weights", "no.pth"], "no.pth: No such file or directory"),
        (["--validation", "no.json", "."], "no.json: No such file or directory"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert train(folder, *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (folder / "run").exists()


def test_help_names_every_option() -> None:
    run = [sys.executable, "-c", "from pose2seg.cli import main; main()", "train", "--help"]
    text = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    for option in (
        "validation",
        "weights",
        "imagenet-weights",
        "preset",
        "precision",
        "batch-norm",
        "resume",
    ):
        assert f"--{option} " in text
    for preset in PRESETS:
        assert f"\n  {preset} " in text
