"""`python -m benchmarks.report`: all contests, contenders taking turns, as docs/benchmarks.md with plots.

The times are kept beside it in benchmarks.json: `--only TEXT` measures some contests again and leaves the others.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from pose2seg.errors import InputError
from pose2seg.files import atomic_writer
from tqdm import tqdm

from benchmarks import peers, plots, roofline
from benchmarks.contest import Contest
from benchmarks.results import Results, machine, measure
from benchmarks.tables import contest_table, linearity_table, prediction_table, share_lines

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
    stored = output.with_suffix(".json")
    results = Results.on(device)
    if only is not None and stored.exists():
        results = results.joined_to(Results.read(stored))
    for contest in tqdm(chosen, unit="contest"):
        results.measured[str(contest)] = measure(contest, device, seconds)
        results.write(stored)
    write_report(results, contests, output, device)
    measured = results.of(chosen)
    failures = [result for result in measured if result.measured.failure]
    for result in failures:
        print(f"{result.contest}: {result.measured.failure}", file=sys.stderr)
    below = sum(not met for result in measured for *_, met in result.bars())
    print(f"{output}: {len(measured)} contests, {len(failures)} failed, {below} bars missed", file=sys.stderr)
    return bool(failures)


def find_contests() -> Iterator[Contest]:
    """Those of the modules beside this one, in the order of their names; not all benchmarks are contests."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        yield from getattr(importlib.import_module(f"benchmarks.{path.stem}"), "CONTESTS", ())


def write_report(
    results: Results, contests: Sequence[Contest], output: Path, device: torch.device
) -> None:
    """The Markdown, and a folder of its name with the plots."""
    lines = _introduction(results)
    of_contests = results.of(list(contests))
    for op in dict.fromkeys(result.contest.op for result in of_contests):
        of_op = [result for result in of_contests if result.contest.op == op]
        lines += ["", f"## {op}", ""]
        picture = output.with_suffix("") / f"{op.replace(' ', '_')}.svg"
        if plots.plot(of_op, picture):
            lines += [f"![{op}: time]({picture.relative_to(output.parent)})", ""]
        lines += [*contest_table(of_op, results.copied), *share_lines(of_op), *linearity_table(of_op)]
    gpu = roofline.gpu_named(results.machine)
    if device.type == "cuda":
        lines += ["", "## Predicted and measured", "", *prediction_table(of_contests, gpu, results.machine)]
    with atomic_writer(output) as file:
        file.write(("\n".join(lines) + "\n").encode())
