"""Tests of the start of commands, their help and their choices."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pose2seg.commands import cli, predict
from pose2seg.common import choices
from pose2seg.data.poses.estimators import (
    POSE_ESTIMATOR_FILES,
    POSE_ESTIMATORS,
)
from pose2seg.network.export import FORMATS
from pose2seg.training import PRESETS
from predict_command import arguments

import pose2seg_ops


@pytest.mark.parametrize(("ignored", "code"), [(False, -signal.SIGINT), (True, 3)])
def test_interrupting_the_imports_prints_nothing(tmp_path: Path, ignored: bool, code: int) -> None:
    """Ctrl-C ends the imports, unless it is ignored, as in the background."""
    (tmp_path / "torch.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nos._exit(3)\n"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        path = os.pathsep.join([str(tmp_path), *sys.path])
        run = [sys.executable, "-m", "pose2seg", "demo"]
        done = subprocess.run(run, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize(
    "words", [["--help"], ["predict", "--help"], ["--version"], ["predict"], ["train", "--epochs", "0"]]
)
def test_commands_without_a_network_do_not_import_torch(words: list[str]) -> None:
    """Importing torch takes a second, and NumPy and OpenCV a tenth of a second each."""
    check = (
        "import sys\n"
        "from pose2seg.commands.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'numpy', 'cv2'} & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", check, *words], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "set()"


def test_the_command_line_offers_all_choices() -> None:
    assert set(choices.POSE_ESTIMATORS) == set(POSE_ESTIMATORS)
    assert set(choices.POSE_ESTIMATOR_FILES) == set(POSE_ESTIMATOR_FILES)
    assert set(choices.EXPORT_FORMATS) == set(FORMATS)
    assert set(choices.PRESETS) == set(PRESETS)


def test_help_lists_every_option_and_its_default() -> None:
    run = [sys.executable, "-m", "pose2seg", "predict", "--help"]
    help_text = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    text = " ".join(help_text.split())
    for option in (
        "poses",
        "pose-estimator",
        "weights",
        "templates",
        "output",
        "overlays",
        "report",
        "masks",
        "device",
        "batch-size",
        "threshold",
        "resume",
    ):
        assert f"--{option} " in text
    assert "(default: 4)" in text
    assert f"(default: {choices.MASK_THRESHOLD})" in text
    assert "examples:" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["images"],
            "give the poses of the people with --poses FILE_OR_FOLDER, or find them with",
        ),
        (
            ["images/*.png", "--poses", "no.json"],
            "images/*.png: no such file or folder; patterns are not",
        ),
        (
            ["https://a.b/c.jpg", "--pose-estimator", "rtmo"],
            "https:/a.b/c.jpg: no such file or folder; URLs are not supported",
        ),
        (["-", "--poses", "no.json"], "argument IMAGE_OR_FOLDER: must be a path, got '-'"),
        (["images", "--poses", "no.json"], "no.json: No such file or directory"),
    ],
)
def test_errors_of_new_users_are_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    """The error must come before anything is loaded or downloaded, and no file may be written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    monkeypatch.setattr(predict, "open_estimator", None)
    assert cli.main(["predict", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pose2seg: error: {message}")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize("command", ["demo", "evaluate", "export", "predict", "templates", "train"])
def test_no_command_writes_a_file_named_hyphen(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """--output - is the standard output for masks and templates, and is rejected by other commands."""
    monkeypatch.chdir(tmp_path)
    words = {
        "demo": [],
        "evaluate": ["a.json", "."],
        "export": [],
        "predict": arguments(files, "1.png")[1:],
        "templates": ["a.json"],
        "train": ["a.json", "."],
    }[command]
    cli.main([command, *words, "--output", "-"])
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"], ["predict", "--help"]])
def test_the_command_runs_as_a_module(words: list[str]) -> None:
    run = [sys.executable, "-m", "pose2seg", *words]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == (0 if words else 2)
    assert "Traceback" not in done.stderr
    if not words:
        assert done.stderr == (
            "pose2seg: error: the following arguments are required: COMMAND (see pose2seg --help)\n"
        )


def test_a_removed_current_folder_is_one_line(tmp_path: Path) -> None:
    run = f"cd {tmp_path} && rmdir {tmp_path} && exec {sys.executable} -m pose2seg evaluate a.json images"
    done = subprocess.run(["sh", "-c", run], capture_output=True, text=True)
    error = "pose2seg: error: the current folder has been removed: change to another one\n"
    assert (done.returncode, done.stderr) == (2, error)


def test_the_command_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"pose2seg {pose2seg_ops.__version__}\n"
