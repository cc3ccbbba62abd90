"""`python -m benchmarks.report`: all contests, contenders taking turns, as docs/benchmarks.md with plots.

The times are kept beside it in benchmarks.json: `--only TEXT` measures some contests again and leaves the
others as they are.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from pose2seg.errors import InputError
from pose2seg.files import atomic_writer
from tqdm import tqdm

from benchmarks import peers, plots, roofline
from benchmarks.contest import Contest, find_contests
from benchmarks.results import Result, Results, measure
from benchmarks.tables import contest_table, limit_lines, linearity_table, prediction_table, share_lines

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
    parser.add_argument("--seconds", type=float, default=2.0, help="for each contest (default: %(default)s)")
    parser.add_argument(
        "--only",
        metavar="TEXT",
        help="measure only contests whose name holds this text; the others stand as they were measured",
    )
    parser.add_argument("--output", type=Path, default=_DOCS / "benchmarks.md", metavar="FILE")
    options = parser.parse_args()
    try:
        failed = run(options.device, options.seconds, options.only, options.output)
    except InputError as error:
        sys.exit(str(error))
    sys.exit(failed)


def run(device: torch.device, seconds: float, only: str | None, output: Path) -> bool:
    """Measures and writes; returns whether a contest failed. Raises InputError for what cannot be joined."""
    contests = list(find_contests())
    chosen = [contest for contest in contests if only is None or only in str(contest)]
    if not chosen:
        raise InputError(f"--only must be part of a contest's name, such as {contests[0]}, got {only!r}")
    cv2.setNumThreads(torch.get_num_threads())
    stored = output.with_suffix(".json")
    results = Results.on(device)
    if only is not None and stored.exists():
        results = results.joined_to(Results.read(stored))
    for contest in tqdm(chosen, unit="contest"):
        results.measured[str(contest)] = measure(contest, device, seconds)
        results.write(stored)
    write_report(results, contests, output)
    measured = results.of(chosen)
    failures = [result for result in measured if result.measured.failure]
    for result in failures:
        print(f"{result.contest}: {result.measured.failure}", file=sys.stderr)
    below = sum(not met for result in measured for _, met in result.bars())
    print(f"{output}: {len(measured)} contests, {len(failures)} failed, {below} bars missed", file=sys.stderr)
    return bool(failures)


def write_report(results: Results, contests: Sequence[Contest], output: Path) -> None:
    """The Markdown, and a folder of its name with the plots."""
    measured = results.of(contests)
    lines = _introduction(results)
    if len(measured) < len(contests):
        lines += ["", f"Only {len(measured)} of {len(contests)} contests were measured."]
    if headlines := [result for result in measured if _is_headline(result)]:
        picture = output.with_suffix("") / "ratios.svg"
        plots.plot_ratios(headlines, picture)
        lines += ["", f"![Times of all contenders beside ours]({picture.relative_to(output.parent)})"]
    for op in dict.fromkeys(result.contest.op for result in measured):
        of_op = [result for result in measured if result.contest.op == op]
        lines += ["", f"## {op}", ""]
        picture = output.with_suffix("") / f"{op.replace(' ', '_')}.svg"
        if plots.plot(of_op, picture):
            lines += [f"![{op}: time against size]({picture.relative_to(output.parent)})", ""]
        lines += [*contest_table(of_op, results.copied), *limit_lines(of_op)]
        lines += [*share_lines(of_op), *linearity_table(of_op)]
    gpu = roofline.gpu_called(results.machine)
    if gpu is not None:
        lines += ["", "## Predicted and measured", "", *prediction_table(measured, gpu)]
    with atomic_writer(output) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _is_headline(result: Result) -> bool:
    """Of eight instances or images in float32; growth is in plots of its own."""
    contest, scale = result.contest, result.contest.scale
    of_eight = scale is not None and scale.axis in ("N", "B") and scale.size == 8
    return (
        of_eight
        and "bfloat16" not in contest.case
        and not contest.op.startswith("growth")
        and not result.measured.failure
    )


def _introduction(results: Results) -> list[str]:
    left_out = [f"{library} is left out: {reason}." for library, reason in sorted(peers.absent.items())]
    return [
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks.report`: the contenders of a contest take turns in one process, after",
        "all were checked to agree, and the medians of their times stand here. Each turn begins with a run",
        "that is not timed. `floor` allocates and fills an output of that size; of a network it is as many",
        'multiplications as it has, in large matrix products. "times ours" is a time divided by ours, and',
        '"bars" are the ratios that the project asks of itself: "reference 8.00 met" means at least 8 times',
        "as fast as the reference. GB/s is the least number of bytes that have to be read and written,",
        "divided by our time; in brackets, as a share of what a large copy reaches, which read and wrote",
        f"{results.copied / 1e9:.3g} GB/s here. What stays in the caches can exceed 100 %.",
        "",
        " ".join([f"On {results.machine}; {results.software}.", *left_out]),
    ]


if __name__ == "__main__":
    main()
