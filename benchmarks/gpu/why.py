"""Explains the times on a GPU by its hardware counters, and runs whole programs on it."""

from benchmarks.gpu import pytest_runs
from benchmarks.gpu.command import Run, main
from benchmarks.gpu.counters import counters


def programs(run: Run) -> None:
    """Runs the tests of everything around the kernels: the model, streams, graphs, compilers, large sizes."""
    pytest_runs.execute(run, "programs", "tests/gpu")


STEPS = (programs, counters)

if __name__ == "__main__":
    main("why", __doc__, STEPS)
