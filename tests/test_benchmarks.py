"""The benchmarks lie beside the packages; their report looks for contests by itself."""

import sys
from pathlib import Path

from every_op import OPS

sys.path.append(str(Path(__file__).resolve().parents[1]))
from benchmarks.contest import find_contests


def test_the_report_finds_a_contest_for_every_op():
    assert {contest.op for contest in find_contests()} >= set(OPS)
