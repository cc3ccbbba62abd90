"""Checks the kernels on a GPU: the CUDA tests, and the sanitizers of CUDA on every kernel."""

from benchmarks.gpu import ceilings, pytest_runs, sanitizers
from benchmarks.gpu.command import Run, main


def tests(run: Run) -> None:
    """Runs the tests of the ops."""
    pytest_runs.execute(run, "tests", "tests/ops")


STEPS = (
    ceilings.facts,
    ceilings.memory,
    ceilings.l2,
    ceilings.launch,
    ceilings.matrix_products,
    tests,
    *sanitizers.STEPS,
)

if __name__ == "__main__":
    main("correctness", __doc__, STEPS)
