"""Plots of times against size, and of all times relative to ours, as SVG."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.case import FLOOR, OURS, WHOLE
from benchmarks.results import Result, series

# Keep text as text, and write the same file for the same results.
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "pose2seg_ops", "font.size": 8}


def plot(results: Sequence[Result], path: Path) -> bool:
    """Writes the plots of one op: a row per series with the time and, if there is one, the ratio to the
    floor.

    Returns whether there is anything to plot; if not, no file is written.
    """
    rows = series(results)
    if not rows:
        return False
    with_floor = any(FLOOR in result.measured.medians for result in results)
    with matplotlib.rc_context(_STYLE):
        figure = Figure((3.6 * (1 + with_floor), 2.6 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), 1 + with_floor, squeeze=False)
        for axes, ((axis, others), members) in zip(grid, rows.items(), strict=True):
            _draw(axes[0], members, lambda _: 1e-3)
            axes[0].set(title=others, xlabel=axis, ylabel="ms")
            if with_floor:
                _draw(axes[1], members, lambda member: member.measured.medians.get(FLOOR))
                axes[1].set(title=others, xlabel=axis, ylabel="times the floor")
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
    return True


def plot_ratios(results: Sequence[Result], path: Path) -> None:
    """Plots the times relative to ours: one row per case, one marker per implementation."""
    names = dict.fromkeys(name for result in results for name in result.measured.medians)
    with matplotlib.rc_context(_STYLE):
        figure = Figure((7.2, 0.8 + 0.3 * len(results)), layout="constrained")
        axes = figure.subplots()
        axes.set_prop_cycle(color=matplotlib.colormaps["tab20"](range(20)))
        axes.axvline(1, **_look(OURS) | {"marker": ""})
        for name in names:
            if name in (OURS, WHOLE):
                continue
            rows = [row for row, result in enumerate(results) if name in result.measured.medians]
            ratios = [results[row].measured.ratios[name].value for row in rows]
            axes.plot(ratios, rows, **_look(name) | {"linestyle": "", "marker": "o"})
        axes.set_yticks(range(len(results)), [f"{result.case.op}, {result.case.label}" for result in results])
        axes.set(xscale="log", xlabel="time, relative to pose2seg_ops (above 1 is slower)")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.invert_yaxis()
        axes.grid(alpha=0.3)
        figure.legend(fontsize=6, ncols=5, loc="outside upper center")
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw(axes: Axes, members: Sequence[Result], unit: Callable[[Result], float | None]) -> None:
    """Draws a line per implementation: its times divided by `unit`, if that is known."""
    units = {member.size: value for member in members if (value := unit(member))}
    for name in dict.fromkeys(name for member in members for name in member.measured.medians):
        medians = {member.size: member.measured.medians.get(name) for member in members}
        points = [(size, time / units[size]) for size, time in medians.items() if time and size in units]
        axes.plot(*zip(*points, strict=True), **_look(name))
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(list(units), [str(size) for size in units])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)


def _look(name: str) -> dict[str, Any]:
    styles: dict[str, dict[str, Any]] = {
        OURS: {"color": "black", "linewidth": 2},
        FLOOR: {"color": "grey", "linestyle": "--"},
    }
    return {"label": name, "marker": ".", **styles.get(name, {})}
