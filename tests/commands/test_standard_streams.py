"""Tests of commands whose standard streams are redirected, closed or full."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from predict_command import arguments


def test_masks_can_be_written_to_the_standard_output(files: Path) -> None:
    words = arguments(files, "1.png", output="/dev/stdout")
    run = [
        sys.executable,
        "-m",
        "pose2seg",
        *words,
    ]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert [result["image_id"] for result in json.loads(done.stdout)] == [1]
    assert done.stderr.startswith("/dev/stdout: 1 mask from 1 image in ")


def in_a_shell(redirection: str, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a shell, with redirected standard streams."""
    main = [sys.executable, "-m", "pose2seg"]
    script = f"set -o pipefail; {shlex.join([*main, *words])} {redirection}"
    run = ["bash", "-c", script]
    return subprocess.run(run, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize("redirection", ["2>&-", "0<&- 1>&- 2>&-", "2>/dev/full"])
def test_a_broken_standard_error_does_not_stop_the_work(
    files: Path, tmp_path: Path, redirection: str
) -> None:
    done = in_a_shell(redirection, arguments(files, "1.png", output=str(tmp_path / "masks.json")))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [result["image_id"] for result in json.loads((tmp_path / "masks.json").read_text())] == [1]


def test_an_error_keeps_its_exit_code_without_a_standard_error(files: Path) -> None:
    assert in_a_shell("2>/dev/full", arguments(files, "no.png")).returncode == 2


def demo(files: Path, tmp_path: Path, overlay: str = "overlay.png") -> list[str]:
    """Returns a command that prints, which needs matplotlib."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    return ["demo", "--weights", str(files / "model.safetensors"), "--output", str(tmp_path / overlay)]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_reported_by_name(files: Path, tmp_path: Path, unbuffered: str) -> None:
    done = in_a_shell(">/dev/full", demo(files, tmp_path), PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (
        2,
        "pose2seg: error: standard output: No space left on device\n",
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_not_an_error(files: Path, tmp_path: Path, unbuffered: str) -> None:
    done = in_a_shell("| true", demo(files, tmp_path), PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_name_outside_of_the_encoding_is_printed_escaped(files: Path, tmp_path: Path) -> None:
    done = in_a_shell("", demo(files, tmp_path, "写真.png"), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith(f"{tmp_path}/\\u5199\\u771f.png: a mask of ")
    assert (tmp_path / "写真.png").exists()
