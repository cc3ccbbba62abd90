"""The benchmarks lie beside the packages; their report looks for contests by itself."""

import json
import os
import subprocess
import sys
from dataclasses import replace
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


def test_bars_are_of_contenders():
    assert {(str(c), name) for c in find_contests() for name in c.bars if name not in c.contenders} == set()


def contest(size, *, op="double", theirs=lambda x: x + x, bars=None, longest=None):
    contenders = {OURS: lambda x: 2 * x, REFERENCE: theirs, FLOOR: torch.zeros_like, WHOLE: torch.square}
    return Contest(
        op,
        f"N={size}, ones",
        lambda device: (torch.ones(size, device=device),),
        contenders,
        bars or {},
        longest=longest,
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
        monkeypatch.setattr("benchmarks.results.copy_bandwidth", lambda device: 1e9)
        failed = report.run(CPU, 0.01, only, tmp_path / "times.md")
        return failed, (tmp_path / "times.md").read_text()

    return run


def test_report(write, tmp_path):
    bars = {REFERENCE: 1e-9, FLOOR: 1e9}
    failed, text = write(contest(100, bars=bars, longest=60.0), contest(1000, longest=1e-9))
    assert not failed
    assert "reference 0.00 met, floor 1000000000.00 **missed**, 60000000 \u00b5s met |" in text
    assert "| 0 \u00b5s **missed** |" in text
    assert "N=100, ones: " in text  # the share of the whole
    assert "| ones | N=100: " in text  # the time of an item
    assert "![double: time against size](times/double.svg)" in text
    assert (tmp_path / "times" / "double.svg").read_text().count(">pose2seg_ops<") == 2  # times, and ratios


def test_eight_instances_stand_in_one_plot(write, tmp_path):
    write(
        contest(8),
        contest(100),
        contest(8, op="growth of double"),
        contest(8, op="wrong", theirs=lambda x: x),
    )
    drawn = (tmp_path / "times" / "ratios.svg").read_text()
    assert drawn.count(">double, N=8, ones<") == 1
    assert (">reference<" in drawn, ">floor<" in drawn, ">whole<" in drawn) == (True, True, False)
    assert not any(left_out in drawn for left_out in ("N=100", "growth", "wrong"))


def test_a_gpu_that_was_predicted_has_both_times(tmp_path):
    gpu, one = GPUS[1], contest(1000)
    work = Work(bytes=int(gpu.bandwidth * 2e-6), instructions={"double": 1})
    results = Results(
        gpu.device, "torch", gpu.bandwidth, {str(one): Measured(dict.fromkeys(one.contenders, 5e-6), work)}
    )
    report.write_report(results, [one], tmp_path / "times.md")
    text = (tmp_path / "times.md").read_text()
    assert "## Predicted and measured" in text
    assert "| double | N=1000, ones | 2.0 | memory | 5.0 | 2.5 |" in text
    assert "(40%)" in text  # of the copy's bytes a second


def test_a_contest_that_fails_stops_no_other(write, capsys):
    wrong = contest(100, op="wrong", theirs=lambda x: x, bars={REFERENCE: 1}, longest=1.0)
    failed, text = write(wrong, contest(100))
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
    assert "contests were measured" not in text


def test_results_of_other_contenders_are_not_those_of_a_contest(write):
    before = contest(100)
    contenders = {name: run for name, run in before.contenders.items() if name != FLOOR}
    write(replace(before, contenders=contenders))
    _, text = write(before, contest(100, op="triple"), only="triple")
    assert "## double" not in text
    assert "\nOnly 1 of 2 contests were measured.\n" in text


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
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (result.returncode, result.stderr) == (1, "benchmarks/gpu.sh: torch sees no GPU\n")
