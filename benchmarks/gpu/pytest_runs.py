"""Runs the tests of a folder that need a GPU, in parallel."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from benchmarks.gpu.command import Run, Skipped
from benchmarks.gpu.programs import PYTHON
from benchmarks.gpu.programs import execute as execute_program

_MOST_PROCESSES = 12  # each needs half a gigabyte of the GPU for CUDA itself


class Test(NamedTuple):
    name: str
    outcome: str  # "passed", "skipped", "failure" or "error"
    message: str


def execute(run: Run, step: str, path: str) -> None:
    """Records the tests that fail, the reasons why others are skipped, and the number of each.

    Raises AssertionError if a test fails, and Skipped if all are skipped.
    """
    results = run.record.log(f"{step}.xml")
    processes = 0 if run.rehearsal else min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))
    options = ["-m", "cuda", "-n", str(processes), "--dist", "loadfile", "-p", "no:cacheprovider"]
    status, output = execute_program(
        run, [PYTHON, "-m", "pytest", path, *options, f"--junitxml={results}"], f"{step}.log"
    )
    assert results.exists(), f"pytest ended with {status}: {output[-500:]}"
    found = list(outcomes(results))
    for test in found:
        if test.outcome in ("failure", "error"):
            run.record.add(step, " ".join(test), **test._asdict())
    reasons = Counter(test.message for test in found if test.outcome == "skipped")
    for reason, count in reasons.items():
        run.record.add(step, f"skipped {count}: {reason}", skipped=count, reason=reason)
    counts = Counter(test.outcome for test in found)
    run.record.add(step, ", ".join(f"{count} {name}" for name, count in counts.items()), counts=dict(counts))
    assert status == 0, f"pytest ended with {status}"
    if not counts["passed"]:
        raise Skipped(f"all tests were skipped: {', '.join(reasons)}")


def outcomes(path: Path) -> Iterator[Test]:
    """Yields the tests of a JUnit file."""
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ended = next((child for child in case if child.tag in ("skipped", "failure", "error")), None)
        if ended is None:
            yield Test(name, "passed", "")
        else:
            yield Test(name, ended.tag, (ended.get("message") or "").partition("\n")[0])
