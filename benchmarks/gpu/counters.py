"""Reads the hardware counters of each kernel with Nsight Compute (`ncu`)."""

import csv
import re
from collections.abc import Iterator, Sequence

from benchmarks.case import Case
from benchmarks.gpu.chosen import KERNELS, RUN_LENGTHS, cases_of
from benchmarks.gpu.command import Run
from benchmarks.gpu.programs import PYTHON, execute

_SECTORS = "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_"
_STALL = "smsp__average_warps_issue_stalled_"
#: The counters in the report; the log has everything in ncu's sections.
COUNTERS = {
    "gpu__time_duration.sum": "ns",
    "dram__bytes_read.sum": "B read",
    "dram__bytes_write.sum": "B written",
    "lts__t_bytes.sum": "B through L2",
    f"{_SECTORS}ld.ratio": "sectors per load",
    f"{_SECTORS}st.ratio": "sectors per store",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "% occupancy",
}
_NCU = (
    *("ncu", "--csv", "--page", "raw", "--print-units", "base", "--profile-from-start", "no"),
    *("--clock-control", "none", "--kernel-name-base", "demangled", "--kernel-name", "regex:pose2seg"),
    *("--section", "SpeedOfLight", "--section", "Occupancy", "--section", "WarpStateStats"),
    *("--metrics", ",".join(COUNTERS)),
)


def counters(run: Run) -> None:
    """Records the counters of every kernel of a case. Raises AssertionError if ncu fails."""
    run.require_gpu("ncu")
    failed = 0
    for case in run.cases(chosen()):
        run.require_time()
        program = [PYTHON, "-m", "benchmarks.gpu.launches", str(case)]
        status, output = execute(run, [*_NCU, *program], "ncu.log")
        failed += status != 0
        for kernel, values in read(output.splitlines()):
            run.record.add(
                "counters", in_words(kernel, values), case=str(case), kernel=kernel, counters=values
            )
    assert not failed, f"ncu failed for {failed} cases"


def chosen() -> list[Case]:
    """Returns cases that fill a GPU: of 32 instances, or of eight images."""
    return [*cases_of(KERNELS + RUN_LENGTHS, sizes=(32,)), *cases_of(("letterbox",), sizes=(8,))]


def read(lines: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yields the kernels and their counters from the output of ncu: a line of names, one of units, and one
    for each launch, after the output of the program and of ncu itself."""
    first = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    for row in list(csv.DictReader(lines[first:]))[1:]:
        yield (
            row["Kernel Name"],
            {name: value for name, text in row.items() if (value := _number(text)) is not None},
        )


def _number(text: str | None) -> float | None:
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return None


def in_words(kernel: str, values: dict[str, float]) -> str:
    """Formats the counters of the report and the three most frequent reasons why warps wait."""
    title = re.sub(r"\(anonymous namespace\)::|<unnamed>::", "", kernel).partition("(")[0]
    counted = [f"{values[name]:.4g} {unit}" for name, unit in COUNTERS.items() if name in values]
    stalls = [
        (value, name.removeprefix(_STALL).partition("_per_")[0])
        for name, value in values.items()
        if name.startswith(_STALL)
    ]
    waits = [f"waits {value:.2f} {reason}" for value, reason in sorted(stalls, reverse=True)[:3]]
    return ", ".join([title, *counted, *waits])
