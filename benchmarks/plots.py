"""Times against the size of a contest, as SVG."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.contest import FLOOR, OURS
from benchmarks.results import Result

Series = dict[tuple[str, str], list[Result]]

# Text stays text, and the same results give the same file.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "pose2seg_ops", "font.size": 8}


def series(results: Sequence[Result]) -> Series:
    """Results that differ in one size alone, by its axis and by what they share; at least two, in order."""
    found: Series = defaultdict(list)
    for result in results:
        if (scale := result.contest.scale) and not result.measured.failure:
            found[scale.axis, scale.others].append(result)
    return {
        key: sorted(members, key=_size)
        for key, members in found.items()
        if len({_size(member) for member in members}) > 1
    }


def _size(result: Result) -> int:
    scale = result.contest.scale
    assert scale is not None
    return scale.size


def plot(results: Sequence[Result], path: Path) -> bool:
    """Writes one op's plots: a row for each series, time and, where there is one, ratio to the floor.

    Returns whether there is anything to plot; where there is not, no file is written.
    """
    rows = series(results)
    if not rows:
        return False
    with_floor = any(FLOOR in result.measured.medians for result in results)
    with matplotlib.rc_context(_STYLE):
        figure = Figure((3.6 * (1 + with_floor), 2.6 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), 1 + with_floor, squeeze=False)
        for axes, ((axis, others), members) in zip(grid, rows.items(), strict=True):
            _draw_times(axes[0], members)
            axes[0].set(title=others or results[0].contest.op, xlabel=axis, ylabel="ms")
            if with_floor:
                _draw_ratios(axes[1], members)
                axes[1].set(title=others or results[0].contest.op, xlabel=axis, ylabel="times the floor")
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
    return True


def _draw_times(axes: Axes, members: Sequence[Result]) -> None:
    for name in dict.fromkeys(name for member in members for name in member.measured.medians):
        points = [(_size(member), 1000 * member.measured.medians[name]) for member in members if _has(member, name)]
        axes.plot(*zip(*points, strict=True), **_look(name))
    _logarithmic(axes, members)


def _draw_ratios(axes: Axes, members: Sequence[Result]) -> None:
    members = [member for member in members if _has(member, FLOOR)]
    for name in dict.fromkeys(name for member in members for name in member.measured.medians):
        points = [
            (_size(member), member.measured.medians[name] / member.measured.medians[FLOOR])
            for member in members
            if _has(member, name)
        ]
        axes.plot(*zip(*points, strict=True), **_look(name))
    if members:
        _logarithmic(axes, members)


def _has(member: Result, name: str) -> bool:
    return name in member.measured.medians


def _look(name: str) -> dict[str, object]:
    styles = {OURS: {"color": "black", "linewidth": 2}, FLOOR: {"color": "grey", "linestyle": "--"}}
    return {"label": name, "marker": ".", **styles.get(name, {})}


def _logarithmic(axes: Axes, members: Sequence[Result]) -> None:
    axes.set(xscale="log", yscale="log")
    sizes = [_size(member) for member in members]
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)
