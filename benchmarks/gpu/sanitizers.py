"""Runs every kernel under the four tools of compute-sanitizer.

torch's caching allocator is disabled, because it would hide reads and writes beyond the end of a tensor.
"""

import re

from benchmarks.gpu.command import Run
from benchmarks.gpu.programs import PYTHON, execute

_FOUND = 9  # the exit status for errors
#: The benchmark cases with one instance, and every op with its gradients at sizes that do not fill a block.
_PROGRAMS = (
    [PYTHON, "-m", "benchmarks.gpu.launches"],
    [PYTHON, "-m", "pytest", "-m", "cuda", "-p", "no:cacheprovider", "tests/ops/test_quick.py"],
)


def check(run: Run, tool: str) -> None:
    """Records the errors that one tool finds. Raises AssertionError if there are any."""
    run.require_gpu("compute-sanitizer")
    options = ["--tool", tool, "--error-exitcode", str(_FOUND), "--print-limit", "20"]
    environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    statuses = []
    for program in _PROGRAMS:
        run.require_time()
        status, output = execute(
            run, ["compute-sanitizer", *options, *program], "sanitizers.log", environment
        )
        summary = "; ".join(re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", output)) or "no summary"
        run.record.add(tool, summary, summary=summary, status=status)
        statuses.append(status)
    assert not any(statuses), f"compute-sanitizer ended with {statuses}"


def memcheck(run: Run) -> None:
    check(run, "memcheck")


def racecheck(run: Run) -> None:
    check(run, "racecheck")


def synccheck(run: Run) -> None:
    check(run, "synccheck")


def initcheck(run: Run) -> None:
    check(run, "initcheck")


STEPS = (memcheck, racecheck, synccheck, initcheck)
