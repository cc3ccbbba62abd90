"""Tests of `pose2seg train`."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people import draw_dataset, write_annotations
from pose2seg import (
    BUNDLED_WEIGHTS,
    Architecture,
    InputError,
    Pose2Seg,
    load_model,
    load_templates,
    save_checkpoint,
)
from pose2seg.commands import cli
from pose2seg.commands.train import _choose_preset, _initial_model
from pose2seg.common.choices import FEW_IMAGES
from pose2seg.network.templates import DEFAULT_TEMPLATES
from pose2seg.training import PRESETS, make_model
from pose2seg.training.loader import Batch
from pose2seg.training.trainer import Trainer
from tiny_training import TINY, assert_same, rows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes a dataset to train on, and makes the presets tiny."""
    monkeypatch.setitem(PRESETS, "modern", replace(TINY, epochs=1))
    (tmp_path / "images").mkdir()
    write_annotations(draw_dataset(tmp_path / "images"), tmp_path / "people.json")
    return tmp_path


def train(folder: Path, *options: str, preset: str | None = "modern") -> int:
    words = ["train", str(folder / "people.json"), str(folder / "images"), "--output", str(folder / "run")]
    words += [] if preset is None else ["--preset", preset]
    return cli.main([*words, "--device", "cpu", "--workers", "0", *options])


def test_train_writes_a_model_and_a_summary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validation = ["--validation", str(folder / "people.json"), str(folder / "images")]
    assert train(folder, *validation, "--epochs", "2", "--learning-rate", "0.01", "--seed", "3") == 0
    begin, *epochs, summary = (
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("pose2seg: warning")
    )
    assert begin == (
        "training on 3 images with 6 people, validated on 3 images with 6 people: 2 epochs of 2 steps, on cpu "
        "in float32, from random weights, with the preset modern"
    )
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
    assert (
        f"{folder}/run: contains a training run: resume it, or choose another folder"
        in capsys.readouterr().err
    )
    assert train(folder, "--resume") == 0


def test_a_finished_training_can_be_resumed_with_more_epochs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder) == 0
    assert train(folder, "--resume") == 0
    assert "/run: 1 of 1 epochs are done, 2 steps in all; to continue, increase the number of epochs" in (
        capsys.readouterr().err
    )
    assert train(folder, "--resume", "--epochs", "3") == 0
    error = capsys.readouterr().err
    assert f"{folder}/run: 1 of 3 epochs are done, 2 steps in all\n" in error
    assert [line[:12] for line in error.splitlines() if line.startswith("epoch ")] == [
        "epoch 2 of 3",
        "epoch 3 of 3",
    ]
    assert len(rows(folder / "run/losses.csv")) == 6
    assert json.loads((folder / "run/recipe.json").read_text())["epochs"] == 3
    assert train(folder, "--resume", "--epochs", "2") == 2
    assert (
        f"epochs must be at least 3, which {folder}/run has done or begun, got 2" in capsys.readouterr().err
    )


def test_ctrl_c_keeps_the_last_step_and_explains_how_to_resume(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = Trainer.step

    def interrupted(self: Trainer, batch: Batch) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return take_step(self, batch)

    monkeypatch.setattr(Trainer, "step", interrupted)
    assert train(folder) == 130
    assert capsys.readouterr().err.splitlines()[1:] == [
        "pose2seg: stopping when this step is done",
        f"pose2seg: interrupted: the state is in {folder}/run; run the same command with --resume to continue",
    ]
    assert len(rows(folder / "run/losses.csv")) == 1
    monkeypatch.setattr(Trainer, "step", take_step)
    assert train(folder, "--resume") == 0
    assert f"{folder}/run: 0 of 1 epochs are done, 1 step in all\n" in capsys.readouterr().err
    assert len(rows(folder / "run/losses.csv")) == 2


def test_few_images_fine_tune_the_small_model(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is the default, also on a processor without bfloat16. A step with a tiny learning rate does not change the weights."""
    short = replace(PRESETS["fine-tune"], epochs=1, batch_size=3, people=3, input_size=64, learning_rate=1e-9)
    monkeypatch.setitem(PRESETS, "fine-tune", short)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert train(folder, preset=None) == 0
    begin = capsys.readouterr().err.splitlines()[0]
    assert begin == (
        "training on 3 images with 6 people: 1 epoch of 1 step, on cpu in float32, from the small model, with "
        "the preset fine-tune (the default)"
    )
    trained, small = load_model(folder / "run/last.safetensors"), load_model("small")
    assert trained.architecture == small.architecture
    for (name, weight), expected in zip(trained.named_parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("images", "options", "preset", "weights"),
    [
        (FEW_IMAGES - 1, [], "fine-tune", BUNDLED_WEIGHTS),
        (FEW_IMAGES, [], "modern", None),
        (40, ["--weights", "a"], "fine-tune", Path("a")),
        (FEW_IMAGES, ["--weights", "small"], "modern", BUNDLED_WEIGHTS),
        (40, ["--encoder", "resnet"], "modern", None),
        (40, ["--encoder-weights", "a"], "modern", None),
        (40, ["--preset", "small"], "small", None),
        (FEW_IMAGES, ["--preset", "fine-tune"], "fine-tune", BUNDLED_WEIGHTS),
    ],
)
def test_the_default_preset(images: int, options: list[str], preset: str, weights: Path | None) -> None:
    arguments = cli._parser().parse_args(["train", "people.json", "images", "--output", "run", *options])
    _choose_preset(arguments, images)
    assert (arguments.preset, arguments.weights) == (preset, weights)


def test_weights_are_given_by_name_or_path() -> None:
    for given, expected in (
        ("small", BUNDLED_WEIGHTS),
        ("./small", Path("small")),
        ("a/small", Path("a/small")),
    ):
        arguments = cli._parser().parse_args(["evaluate", "people.json", "images", "--weights", given])
        assert arguments.weights == expected


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
    assert "run: must be a folder, got a file" in capsys.readouterr().err


def test_bad_records_are_warnings_of_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((folder / "people.json").read_text())
    content["annotations"][1]["segmentation"] = [[1, 2, 3, 4]]
    (folder / "people.json").write_text(json.dumps(content))
    (folder / "images/2.png").write_bytes(b"damaged")
    assert (
        train(folder, "--epochs", "2", "--validation", str(folder / "people.json"), str(folder / "images"))
        == 0
    )
    # The validation images are the same, and are evaluated twice, but nothing is printed again.
    lines = [line for line in capsys.readouterr().err.splitlines() if "masks are empty" not in line]
    first, second = [line for line in lines if line.startswith("pose2seg: warning: ")]
    assert "annotations[1] (id 100) is left out: " in first
    assert second.endswith("2.png: not an image that OpenCV can read; image 2 is left out")


def initial_model(*options: str) -> Pose2Seg:
    arguments = cli._parser().parse_args(["train", "people.json", "images", "--output", "run", *options])
    return _initial_model(arguments, TINY)


def test_a_training_can_start_from_the_model_of_a_file(tmp_path: Path) -> None:
    """The templates, sizes and convention are those of the file, not those of the package and the preset."""
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


def test_official_weights_need_templates(tmp_path: Path) -> None:
    path = tmp_path / "official.pkl"
    torch.save({"segnet.conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"official.pkl: has no pose templates, and none were given"):
        initial_model("--weights", str(path))


def test_the_encoder_can_start_from_imagenet_weights(tmp_path: Path) -> None:
    first = make_model(replace(TINY, seed=5), load_templates())
    resnet = {k: v for k, v in first.backbone.state_dict().items() if not k.startswith("fpn_")}
    torch.save(resnet, tmp_path / "resnet.pth")
    started = initial_model("--encoder-weights", str(tmp_path / "resnet.pth"))
    weights, expected = started.state_dict(), first.state_dict()
    assert torch.equal(weights["backbone.conv1.weight"], expected["backbone.conv1.weight"])
    assert not torch.equal(weights["segnet.conv1.weight"], expected["segnet.conv1.weight"])


def test_the_encoder_of_a_preset_can_be_replaced() -> None:
    started = initial_model("--encoder", "efficientnet-lite0")
    assert started.architecture == replace(TINY.architecture, encoder="efficientnet-lite0")


def test_another_encoder_can_start_with_the_head_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "first.safetensors"
    larger = replace(TINY, architecture=Architecture((1, 1, 1, 1), 8, 8, 8, 2), convention="pose2seg")
    first = make_model(larger, torch.rand(2, 17, 3))
    save_checkpoint(first, path)
    started = initial_model("--weights", str(path), "--encoder", "efficientnet-lite0")
    assert started.architecture == replace(larger.architecture, encoder="efficientnet-lite0")
    assert started.convention == "pose2seg"
    assert torch.equal(started.templates, first.templates)
    assert_same(started.segnet.state_dict(), first.segnet.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--people", "1"], "people must be at least batch_size, 2, for one of each image, got 1"),
        (["--learning-rate", "0"], "argument --learning-rate: must be a number above 0, got '0'"),
        (["--learning-rate", "x"], "argument --learning-rate: must be a number above 0, got 'x'"),
        (["--workers", "-1"], "argument --workers: must be an integer from 0 to 999999999, got '-1'"),
        (["--precision", "float8"], "argument --precision: invalid choice: 'float8'"),
        (["--batch-norm", "synchronised"], "synchronised batch norms need GPUs, got cpu"),
        (["--preset", "none"], "argument --preset: invalid choice: 'none'"),
        (
            ["--weights", str(BUNDLED_WEIGHTS), "--encoder-weights", "b"],
            "--encoder-weights with --weights needs --encoder",
        ),
        (["--encoder", "vgg"], "argument --encoder: must be one of resnet, efficientnet-lite0, "),
        (["--encoder", "timm:hf-hub:a/b"], "argument --encoder: must be one of resnet, efficientnet-lite0, "),
        (["--encoder-rate", "-1"], "argument --encoder-rate: must be a number from 0 to 1, got '-1'"),
        (["--encoder-weights", "no.pth"], "no.pth: No such file or directory"),
        (["--weights", "no.pth"], "no.pth: No such file or directory"),
        (["--validation", "no.json", "."], "no.json: No such file or directory"),
    ],
)
def test_errors_that_the_user_can_fix_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert train(folder, *options) == 2
    *_, error = lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if not line.startswith("training on ")] == [error]
    assert message in error
    assert not (folder / "run").exists()


def test_help_lists_every_option() -> None:
    run = [sys.executable, "-m", "pose2seg", "train", "--help"]
    text = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    for option in (
        "validation",
        "weights",
        "encoder",
        "encoder-weights",
        "encoder-rate",
        "frozen-stages",
        "preset",
        "precision",
        "batch-norm",
        "resume",
    ):
        assert f"--{option} " in text
    for preset in PRESETS:
        assert f"\n  {preset} " in text
