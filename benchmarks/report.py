"""`python -m benchmarks.report`: runs all cases and writes docs/benchmarks.md with plots.

The implementations of a case take turns. The times are also stored in benchmarks.json, so that `--only TEXT`
can measure some cases again and keep the others.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from pose2seg.common.errors import InputError
from pose2seg.common.files import atomic_writer
from tqdm import tqdm

from benchmarks import peers, plots, roofline
from benchmarks.case import Case, find_cases
from benchmarks.results import Result, Results, measure
from benchmarks.tables import case_table, limit_lines, linearity_table, prediction_table, share_lines

_DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device", type=torch.device, default=torch.device("cpu"), help="cpu, cuda or cuda:N"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        help="for each case, or up to three times as long while ratios are uncertain (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        metavar="TEXT",
        help="measure only cases whose name contains this text, and keep the times of the others",
    )
    parser.add_argument("--output", type=Path, default=_DOCS / "benchmarks.md", metavar="FILE")
    options = parser.parse_args()
    try:
        failed = run(options.device, options.seconds, options.only, options.output)
    except InputError as error:
        sys.exit(str(error))
    sys.exit(failed)


def run(device: torch.device, seconds: float, only: str | None, output: Path) -> bool:
    """Measures and writes the report. Returns whether a case failed. Raises InputError if results cannot be
    joined."""
    cases = list(find_cases())
    chosen = [case for case in cases if only is None or only in str(case)]
    if not chosen:
        raise InputError(f"--only must be part of a case's name, such as {cases[0]}, got {only!r}")
    cv2.setNumThreads(torch.get_num_threads())
    stored = output.with_suffix(".json")
    results = Results.on(device)
    if only is not None and stored.exists():
        results = results.joined_to(Results.read(stored))
    for case in tqdm(chosen, unit="case"):
        results.measured[str(case)] = measure(case, device, seconds)
        results.write(stored)
    write_report(results, cases, output)
    measured = results.of(chosen)
    failures = [result for result in measured if result.measured.failure]
    for result in failures:
        print(f"{result.case}: {result.measured.failure}", file=sys.stderr)
    below = sum(not met for result in measured for _, met in result.targets())
    print(f"{output}: {len(measured)} cases, {len(failures)} failed, {below} targets missed", file=sys.stderr)
    return bool(failures)


def write_report(results: Results, cases: Sequence[Case], output: Path) -> None:
    """Writes the report as Markdown, and its plots to a folder of the same name."""
    measured = results.of(cases)
    lines = _introduction(results)
    if len(measured) < len(cases):
        lines += ["", f"Only {len(measured)} of {len(cases)} cases were measured."]
    if headlines := [result for result in measured if _is_headline(result)]:
        path = output.with_suffix("") / "ratios.svg"
        plots.plot_ratios(headlines, path)
        lines += [
            "",
            f"![Times of all implementations relative to ours]({path.relative_to(output.parent)})",
        ]
    for op in dict.fromkeys(result.case.op for result in measured):
        of_op = [result for result in measured if result.case.op == op]
        lines += ["", f"## {op}", ""]
        path = output.with_suffix("") / f"{op.replace(' ', '_')}.svg"
        if plots.plot(of_op, path):
            lines += [f"![{op}: time against size]({path.relative_to(output.parent)})", ""]
        lines += [*case_table(of_op, results.copied), *limit_lines(of_op)]
        lines += [*share_lines(of_op), *linearity_table(of_op)]
    gpu = roofline.gpu_called(results.machine)
    if gpu is not None:
        lines += ["", "## Predicted and measured", "", *prediction_table(measured, gpu)]
    with atomic_writer(output) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _is_headline(result: Result) -> bool:
    """Whether a result belongs to the overview plot: eight instances or images, float32, no growth series."""
    case, scale = result.case, result.case.scale
    of_eight = scale is not None and scale.axis in ("N", "B") and scale.size == 8
    return (
        of_eight
        and "bfloat16" not in case.label
        and not case.op.startswith("growth")
        and not result.measured.failure
    )


def _introduction(results: Results) -> list[str]:
    left_out = [f"{library} is left out: {reason}." for library, reason in sorted(peers.absent.items())]
    return [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks.report`. The implementations of a case are first checked to",
        "agree, then they take turns in one process; the tables show their median times, and after each",
        "half of the range of the middle half of them. Each turn starts with a run that is not timed.",
        "`floor` allocates and fills an output of the same size; for a network, it does as many",
        "multiplications in large matrix products.",
        "",
        '"times ours" is the median over the turns of a time divided by ours. Turns go on until the 95 %',
        "interval of this median is at most a tenth of it wide. An interval in brackets is one that stayed",
        'wider in the time that a case may take. "targets" are the ratios that this project requires:',
        '"reference 8.00 met" means at least 8 times as fast as the reference. GB/s is the least number of',
        "bytes that must be read and written, divided by our time; in brackets, relative to the bandwidth of",
        f"a large copy, {results.copied / 1e9:.3g} GB/s here. Data that stays in cache can exceed 100 %.",
        "",
        " ".join([f"On {results.machine}; {results.software}.", *left_out]),
    ]


if __name__ == "__main__":
    main()
