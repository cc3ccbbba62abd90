"""`python -m benchmarks.report`: all contests, contenders taking turns, as docs/benchmarks.md with plots."""

import argparse
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks.contest import OURS, Contest
from benchmarks.timing import alternate

_DOCS = Path(__file__).resolve().parents[1] / "docs"


class Result(NamedTuple):
    contest: Contest
    medians: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument(
        "--device", type=torch.device, default=torch.device("cpu"), help="cpu, cuda or cuda:N"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="for each contest (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="contests whose name holds this text")
    parser.add_argument("--output", type=Path, default=_DOCS / "benchmarks.md", metavar="FILE")
    options = parser.parse_args()
    contests = [contest for contest in find_contests() if options.only in str(contest)]
    results = [run(contest, options.device, options.seconds) for contest in tqdm(contests, unit="contest")]
    options.output.write_text(report(results, options.device))
    missed = [result for result in results if not all(met for _, met in bars(result))]
    print(f"{options.output}: {len(results)} contests, {len(missed)} below a bar", file=sys.stderr)


def find_contests() -> Iterator[Contest]:
    """Those of the modules beside this one, in the order of their names; not all benchmarks are contests."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        yield from getattr(importlib.import_module(f"benchmarks.{path.stem}"), "CONTESTS", ())


def run(contest: Contest, device: torch.device, seconds: float) -> Result:
    arguments = contest.inputs(device)
    contest.check(arguments)
    return Result(contest, alternate(contest.contenders, arguments, device, seconds=seconds))


def bars(result: Result) -> Iterator[tuple[str, bool]]:
    """Each bar of the contest in words, and whether it is reached."""
    contest, ours = result.contest, result.medians[OURS]
    for name, least in contest.bars.items():
        yield f"{name} {least:.2f}", result.medians[name] / ours >= least
    if contest.longest is not None:
        yield f"{format_time(contest.longest)} ms", ours <= contest.longest


def report(results: Sequence[Result], device: torch.device) -> str:
    version = importlib.metadata.version("pose2seg_ops")
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks.report`: the contenders of a contest take turns in one process, after",
        "all were checked to agree, and the medians of their times stand here. `floor` allocates and fills",
        "an output of that size.",
        "",
        f"On {machine(device)}; pose2seg_ops {version}, torch {torch.__version__}.",
    ]
    for op in dict.fromkeys(result.contest.op for result in results):
        lines += ["", f"## {op}", "", *table([result for result in results if result.contest.op == op])]
    return "\n".join(lines) + "\n"


def table(results: Sequence[Result]) -> Iterator[str]:
    """One op's contests in rows: times in ms, and how many times our time the others take."""
    names = list(dict.fromkeys(name for result in results for name in result.medians))
    others = [name for name in names if name != OURS]
    yield (
        "| | " + " | ".join([f"{OURS}, ms", *(f"{name}, ms" for name in others), "times ours", "bars"]) + " |"
    )
    yield "| --- " * (len(names) + 3) + "|"
    for result in results:
        ours = result.medians[OURS]
        times = [format_time(result.medians.get(name)) for name in (OURS, *others)]
        ratios = [f"{name} {result.medians[name] / ours:.2f}" for name in others if name in result.medians]
        judged = [f"{bar} {'met' if met else '**missed**'}" for bar, met in bars(result)]
        yield (
            f"| {result.contest.case} | " + " | ".join([*times, ", ".join(ratios), ", ".join(judged)]) + " |"
        )


def format_time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.3g}"


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
