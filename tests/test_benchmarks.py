"""The benchmarks lie beside the packages; their report looks for contests by itself."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from every_op import OPS
from pose2seg.errors import InputError

from benchmarks import report
from benchmarks.contest import FLOOR, OURS, REFERENCE, WHOLE, Contest, Scale, find_contests
from benchmarks.results import Measured, Results
from benchmarks.roofline import GPUS, Work

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")


def test_the_report_finds_a_contest_for_every_op():
    assert {contest.op for contest in find_contests()} >= set(OPS)


def test_contests_have_names_of_their_own():
    names = [str(contest) for contest in find_contests()]
    assert len(set(names)) == len(names)


def contest(size, *, op="double", theirs=lambda x: x + x, bars=None):
    contenders = {OURS: lambda x: 2 * x, REFERENCE: theirs, FLOOR: torch.zeros_like, WHOLE: torch.square}
    return Contest(
        op, f"N={size}, ones", lambda device: (torch.ones(size, device=device),), contenders, bars or {}
    )


def test_scale():
    assert contest(8).scale == Scale("N", 8, "ones")
    assert Contest("op", "B=2", lambda _: (), {}).scale == Scale("B", 2, "")
    assert Contest("op", "8 people, N=2", lambda _: (), {}).scale is None


def test_a_contender_that_disagrees_is_named():
    wrong = contest(8, theirs=lambda x: x)
    with pytest.raises(AssertionError, match="double, N=8, ones: pose2seg_ops disagrees"):
        wrong.check(wrong.inputs(CPU))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a report of these contests; gives whether one failed, and the text."""

    def run(*contests, only=None):
        monkeypatch.setattr(report, "find_contests", lambda: contests)
        failed = report.run(CPU, 0.01, only, tmp_path / "times.md")
        return failed, (tmp_path / "times.md").read_text()

    return run


def test_report(write, tmp_path):
    bars = {REFERENCE: 1e-9, FLOOR: 1e9}
    failed, text = write(contest(100, bars=bars), contest(1000))
    assert not failed
    assert "reference 0.00 met, floor 1000000000.00 **missed**" in text
    assert "N=100, ones: " in text  # the share of the whole
    assert "| ones | N=100: " in text  # the time of an item
    assert "![double: time against size](times/double.svg)" in text
    assert (tmp_path / "times" / "double.svg").read_text().count(">pose2seg_ops<") == 2  # times, and ratios


def test_a_gpu_that_was_predicted_has_both_times(tmp_path):
    gpu, one = GPUS[1], contest(1000)
    work = Work(bytes=int(gpu.bandwidth * 2e-6), instructions={"double": 1})
    results = Results(gpu.device, "torch", gpu.bandwidth, {str(one): Measured({OURS: 5e-6}, work)})
    report.write_report(results, [one], tmp_path / "times.md")
    text = (tmp_path / "times.md").read_text()
    assert "## Predicted and measured" in text
    assert "| double | N=1000, ones | 2.0 | memory | 5.0 | 2.5 |" in text
    assert "(40%)" in text  # of the copy's bytes a second


def test_a_contest_that_fails_stops_no_other(write, capsys):
    failed, text = write(contest(100, op="wrong", theirs=lambda x: x), contest(100))
    assert failed
    assert "| N=100, ones | failed: AssertionError: wrong, N=100, ones: pose2seg_ops disagrees" in text
    assert "## double" in text
    assert "wrong-N=100-ones: AssertionError" in capsys.readouterr().err


def test_a_section_is_measured_alone(write, tmp_path):
    contests = contest(100), contest(100, op="triple")
    write(*contests)
    before = json.loads((tmp_path / "times.json").read_text())["measured"]
    _, text = write(*contests, only="triple")
    after = json.loads((tmp_path / "times.json").read_text())["measured"]
    assert after["double-N=100-ones"] == before["double-N=100-ones"]
    assert after["triple-N=100-ones"] != before["triple-N=100-ones"]
    assert "## double" in text
    assert "## triple" in text


def test_results_of_another_machine_are_not_joined(write, tmp_path):
    write(contest(100))
    stored = json.loads((tmp_path / "times.json").read_text())
    (tmp_path / "times.json").write_text(json.dumps(stored | {"machine": "An abacus"}))
    with pytest.raises(InputError, match=r"An abacus.*leave out --only"):
        write(contest(100), only="double")
    (tmp_path / "times.json").write_text("[]")
    with pytest.raises(InputError, match=r"times\.json holds no results"):
        write(contest(100), only="double")


def test_only_has_to_name_a_contest(write):
    with pytest.raises(InputError, match=r"--only must be part of .* double-N=100-ones, got 'treble'"):
        write(contest(100), only="treble")


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_one_command_needs_a_gpu():
    command = [str(ROOT / "benchmarks" / "gpu.sh")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "benchmarks/gpu.sh: torch sees no GPU\n")
