"""Results as Markdown."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from benchmarks.contest import OURS, REFERENCE, WHOLE
from benchmarks.results import Result, series
from benchmarks.roofline import Gpu, microseconds


def contest_table(results: Sequence[Result], copied: float) -> Iterator[str]:
    """One op's contests in rows: times in ms, how many times ours the others take, our bytes a second.

    copied: bytes a second that a large copy reads and writes.
    """
    names = list(dict.fromkeys(name for result in results for name in result.measured.medians))
    others = [name for name in names if name != OURS]
    titles = [
        f"{OURS}, ms",
        *(f"{name}, ms" for name in others),
        "times ours",
        "bars",
        "GB/s (of the copy's)",
    ]
    yield "| | " + " | ".join(titles) + " |"
    yield "| --- " * (len(titles) + 1) + "|"
    for result in results:
        medians = result.measured.medians
        if result.measured.failure:
            cells = [f"failed: {result.measured.failure}", *[""] * (len(titles) - 1)]
        else:
            cells = [_milliseconds(medians.get(name)) for name in (OURS, *others)]
            cells += [_ratios(result), _bars(result), _bandwidth(result, copied)]
        yield f"| {result.contest.case} | " + " | ".join(cells) + " |"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.3g}"


def _ratios(result: Result) -> str:
    others = [(name, time) for name, time in result.measured.medians.items() if name != OURS]
    return ", ".join(f"{name} {time / result.ours:.2f}" for name, time in others)


def _bars(result: Result) -> str:
    return ", ".join(f"{bar} {'met' if met else '**missed**'}" for bar, met in result.bars())


def _bandwidth(result: Result, copied: float) -> str:
    if result.measured.work is None:
        return ""
    achieved = result.measured.work.bytes / result.ours
    return f"{achieved / 1e9:.3g} ({achieved / copied:.0%})"


def limit_lines(results: Sequence[Result]) -> Iterator[str]:
    """Why bars are missed."""
    for result in results:
        if result.contest.limit and not all(met for _, met in result.bars()):
            yield ""
            yield f"{result.contest.case}: {result.contest.limit}"


def share_lines(results: Sequence[Result]) -> Iterator[str]:
    """How much of the whole our part takes, and the reference's in its place."""
    for result in results:
        if WHOLE not in result.measured.medians:
            continue
        whole, theirs = (result.measured.medians[name] for name in (WHOLE, REFERENCE))
        with_theirs = whole - result.ours + theirs
        yield ""
        yield (
            f"{result.contest.case}: {result.ours / whole:.1%} of the whole; with the reference in its place "
            f"{theirs / with_theirs:.1%}."
        )


def linearity_table(results: Sequence[Result]) -> Iterator[str]:
    """Our time by size: for each item, and the exponent of its growth from each size to the next."""
    rows = series(results)
    if not rows:
        return
    yield from (
        "",
        "Our time for each item, in µs, and in brackets the exponent with which time grew since the size",
        "before: 1 is linear; below 1, fixed costs dominate; above 1, the data no longer fits in the caches.",
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
        yield f"| {others or members[0].contest.op} | " + ", ".join(items) + " |"


def prediction_table(results: Sequence[Result], gpu: Gpu) -> Iterator[str]:
    """What docs/roofline.md predicts for a GPU, and what was measured on it."""
    yield "| op | case | predicted, µs | limit | measured, µs | measured / predicted |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for result in results:
        work = result.measured.work
        if work is not None and work.instructions:
            predicted = gpu.seconds(work)
            cells = [microseconds(predicted), gpu.limit(work), microseconds(result.ours)]
            cells.append(f"{result.ours / predicted:.1f}")
            yield f"| {result.contest.op} | {result.contest.case} | " + " | ".join(cells) + " |"
