"""Formats results as Markdown."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from benchmarks.case import OURS, REFERENCE, WHOLE
from benchmarks.results import Result, series
from benchmarks.roofline import Gpu, microseconds
from benchmarks.timing import Median


def case_table(results: Sequence[Result], copied: float) -> Iterator[str]:
    """Yields a table with one row per case of an op: times in ms, times relative to ours, and our bandwidth.

    copied: The bytes per second that a large copy reads and writes.
    """
    names = list(dict.fromkeys(name for result in results for name in result.measured.medians))
    others = [name for name in names if name != OURS]
    titles = [
        f"{OURS}, ms",
        *(f"{name}, ms" for name in others),
        "times ours",
        "targets",
        "GB/s (of a copy's)",
    ]
    yield "| | " + " | ".join(titles) + " |"
    yield "| --- " * (len(titles) + 1) + "|"
    for result in results:
        if result.measured.failure:
            cells = [f"failed: {result.measured.failure}", *[""] * (len(titles) - 1)]
        else:
            cells = [_milliseconds(result, name) for name in (OURS, *others)]
            cells += [_ratios(result), _targets(result), _bandwidth(result, copied)]
        yield f"| {result.case.label} | " + " | ".join(cells) + " |"


def _milliseconds(result: Result, name: str) -> str:
    if name not in result.measured.medians:
        return ""
    return f"{result.measured.medians[name] * 1000:.3g} \u00b1 {result.measured.spreads[name]:.0%}"


def _ratios(result: Result) -> str:
    return ", ".join(f"{name} {_interval(ratio)}" for name, ratio in result.measured.ratios.items())


def _interval(ratio: Median) -> str:
    """Formats a ratio, with its interval if that is not narrow."""
    if ratio.is_narrow:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _targets(result: Result) -> str:
    return ", ".join(f"{target} {'met' if met else '**missed**'}" for target, met in result.targets())


def _bandwidth(result: Result, copied: float) -> str:
    if result.measured.work is None:
        return ""
    achieved = result.measured.work.bytes / result.ours
    return f"{achieved / 1e9:.3g} ({achieved / copied:.0%})"


def limit_lines(results: Sequence[Result]) -> Iterator[str]:
    """Yields the reasons why targets are missed."""
    for result in results:
        if result.case.limit and not all(met for _, met in result.targets()):
            yield ""
            yield f"{result.case.label}: {result.case.limit}"


def share_lines(results: Sequence[Result]) -> Iterator[str]:
    """Yields the share of the whole that our part takes, and the share with the reference in its place."""
    for result in results:
        if WHOLE not in result.measured.medians:
            continue
        whole, theirs = (result.measured.medians[name] for name in (WHOLE, REFERENCE))
        with_theirs = whole - result.ours + theirs
        yield ""
        yield (
            f"{result.case.label}: {result.ours / whole:.1%} of the whole; with the reference in its place "
            f"{theirs / with_theirs:.1%}."
        )


def linearity_table(results: Sequence[Result]) -> Iterator[str]:
    """Yields a table of our time per item by size, with the exponent of its growth between consecutive
    sizes."""
    rows = series(results)
    if not rows:
        return
    yield from (
        "",
        "Our time per item in µs, and in brackets the exponent of its growth from the previous size: 1 is",
        "linear; below 1, fixed costs dominate; above 1, the data no longer fits into the caches.",
        "",
    )
    yield "| | |"
    yield "| --- | --- |"
    for (axis, others), members in rows.items():
        sizes = [member.size for member in members]
        items = [f"{axis}={sizes[0]}: {1e6 * members[0].ours / sizes[0]:.3g}"]
        for before, after in pairwise(members):
            growth = math.log(after.ours / before.ours) / math.log(after.size / before.size)
            items.append(f"{axis}={after.size}: {1e6 * after.ours / after.size:.3g} ({growth:.2f})")
        yield f"| {others or members[0].case.op} | " + ", ".join(items) + " |"


def prediction_table(results: Sequence[Result], gpu: Gpu) -> Iterator[str]:
    """Yields a table of the predictions of docs/roofline.md for a GPU next to its measured times."""
    yield "| op | case | predicted, µs | limit | measured, µs | measured / predicted |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for result in results:
        work = result.measured.work
        if work is not None and work.kernels:
            predicted = gpu.seconds(work)
            cells = [microseconds(predicted), gpu.limit(work), microseconds(result.ours)]
            cells.append(f"{result.ours / predicted:.1f}")
            yield f"| {result.case.op} | {result.case.label} | " + " | ".join(cells) + " |"
