"""Tests of the benchmark report, which finds its cases in the modules of benchmarks/."""

import json
from dataclasses import replace

import pytest
import torch
from every_op import OPS
from pose2seg.common.errors import InputError

from benchmarks import report
from benchmarks.case import FLOOR, OURS, REFERENCE, WHOLE, Case, Scale, find_cases
from benchmarks.counts import Counts
from benchmarks.results import Measured, Results
from benchmarks.roofline import GPUS, Work

CPU = torch.device("cpu")


def test_the_report_finds_a_case_for_every_op():
    assert {case.op for case in find_cases()} >= set(OPS)


def test_names_of_cases_are_unique():
    names = [str(case) for case in find_cases()]
    assert len(set(names)) == len(names)


def test_targets_name_implementations():
    assert {
        (str(c), name) for c in find_cases() for name in c.targets if name not in c.implementations
    } == set()


def case(size, *, op="double", theirs=lambda x: x + x, targets=None, longest=None):
    implementations = {OURS: lambda x: 2 * x, REFERENCE: theirs, FLOOR: torch.zeros_like, WHOLE: torch.square}
    return Case(
        op,
        f"N={size}, ones",
        lambda device: (torch.ones(size, device=device),),
        implementations,
        targets or {},
        longest=longest,
    )


def test_scale():
    assert case(8).scale == Scale("N", 8, "ones")
    assert Case("op", "B=2", lambda _: (), {}).scale == Scale("B", 2, "")
    assert Case("op", "8 people, N=2", lambda _: (), {}).scale is None


def test_an_implementation_that_disagrees_is_named():
    wrong = case(8, theirs=lambda x: x)
    with pytest.raises(AssertionError, match="double, N=8, ones: pose2seg_ops disagrees"):
        wrong.check(wrong.inputs(CPU))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a report of these cases; returns whether one failed, and the text."""

    def run(*cases, only=None):
        monkeypatch.setattr(report, "find_cases", lambda: cases)
        monkeypatch.setattr("benchmarks.results.copy_bandwidth", lambda device: 1e9)
        failed = report.run(CPU, 0.01, only, tmp_path / "times.md")
        return failed, (tmp_path / "times.md").read_text()

    return run


def test_report(write, tmp_path):
    targets = {REFERENCE: 1e-9, FLOOR: 1e9}
    failed, text = write(case(100, targets=targets, longest=60.0), case(1000, longest=1e-9))
    assert not failed
    assert "reference 0.00 met, floor 1000000000.00 **missed**, 60000000 \u00b5s met |" in text
    assert "| 0 \u00b5s **missed** |" in text
    assert "N=100, ones: " in text  # the share of the whole
    assert "| ones | N=100: " in text  # the time of an item
    assert "![double: time against size](times/double.svg)" in text
    assert (tmp_path / "times" / "double.svg").read_text().count(">pose2seg_ops<") == 2  # times, and ratios


def test_eight_instances_stand_in_one_plot(write, tmp_path):
    write(
        case(8),
        case(100),
        case(8, op="growth of double"),
        case(8, op="wrong", theirs=lambda x: x),
    )
    drawn = (tmp_path / "times" / "ratios.svg").read_text()
    assert drawn.count(">double, N=8, ones<") == 1
    assert (">reference<" in drawn, ">floor<" in drawn, ">whole<" in drawn) == (True, True, False)
    assert not any(left_out in drawn for left_out in ("N=100", "growth", "wrong"))


def test_a_gpu_that_was_predicted_has_both_times(tmp_path):
    gpu, one = GPUS[1], case(1000)
    work = Work(bytes=int(gpu.memory * 4e-6), kernels={"double": Counts(1)})
    results = Results(
        gpu.device,
        "torch",
        gpu.memory,
        {str(one): Measured.of(dict.fromkeys(one.implementations, [5e-6] * 3), work)},
    )
    report.write_report(results, [one], tmp_path / "times.md")
    text = (tmp_path / "times.md").read_text()
    assert "## Predicted and measured" in text
    assert "| double | N=1000, ones | 4.0 | memory | 5.0 | 1.3 |" in text
    assert "| N=1000, ones | 0.005 \u00b1 0% |" in text
    assert "(80%)" in text  # of the copy's bytes a second


def test_a_ratio_that_is_uncertain_has_its_interval(tmp_path):
    ours, theirs = [1.0] * 8, [2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0]
    times = {OURS: ours, REFERENCE: theirs, FLOOR: ours, WHOLE: theirs}
    one = case(1000, targets={REFERENCE: 2.5})
    results = Results("A machine", "torch", 1e9, {str(one): Measured.of(times)})
    report.write_report(results, [one], tmp_path / "times.md")
    text = (tmp_path / "times.md").read_text()
    assert (
        "| reference 3.00 (2.00 to 4.00), floor 1.00, whole 3.00 (2.00 to 4.00) | reference 2.50 met |"
        in text
    )
    assert "| 1e+03 \u00b1 0% | 3e+03 \u00b1 21% |" in text  # the middle half is 2 to 3.25


def test_a_case_that_fails_does_not_stop_the_others(write, capsys):
    wrong = case(100, op="wrong", theirs=lambda x: x, targets={REFERENCE: 1}, longest=1.0)
    failed, text = write(wrong, case(100))
    assert failed
    assert "| N=100, ones | failed: AssertionError: wrong, N=100, ones: pose2seg_ops disagrees" in text
    assert "## double" in text
    assert "wrong-N=100-ones: AssertionError" in capsys.readouterr().err


def test_a_section_is_measured_alone(write, tmp_path):
    cases = case(100), case(100, op="triple")
    write(*cases)
    before = json.loads((tmp_path / "times.json").read_text())["measured"]
    _, text = write(*cases, only="triple")
    after = json.loads((tmp_path / "times.json").read_text())["measured"]
    assert after["double-N=100-ones"] == before["double-N=100-ones"]
    assert after["triple-N=100-ones"] != before["triple-N=100-ones"]
    assert "## double" in text
    assert "## triple" in text
    assert "cases were measured" not in text


def test_results_of_other_implementations_are_ignored(write):
    before = case(100)
    implementations = {name: run for name, run in before.implementations.items() if name != FLOOR}
    write(replace(before, implementations=implementations))
    _, text = write(before, case(100, op="triple"), only="triple")
    assert "## double" not in text
    assert "\nOnly 1 of 2 cases were measured.\n" in text


def test_results_of_another_machine_are_not_joined(write, tmp_path):
    write(case(100))
    stored = json.loads((tmp_path / "times.json").read_text())
    (tmp_path / "times.json").write_text(json.dumps(stored | {"machine": "An abacus"}))
    with pytest.raises(InputError, match=r"An abacus.*leave out --only"):
        write(case(100), only="double")
    (tmp_path / "times.json").write_text("[]")
    with pytest.raises(InputError, match=r"times\.json must hold benchmark results"):
        write(case(100), only="double")


def test_only_must_be_part_of_the_name_of_a_case(write):
    with pytest.raises(InputError, match=r"--only must be part of .* double-N=100-ones, got 'treble'"):
        write(case(100), only="treble")
