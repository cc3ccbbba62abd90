"""Draws docs/learning_curve.svg: the loss of a training, from the losses.csv of its folder.

python tools/draw_learning_curve.py RUN/losses.csv
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "learning_curve.svg"
AVERAGED = 141  # steps; an epoch of the small model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("losses", type=Path)
    steps, losses = np.loadtxt(parser.parse_args().losses, delimiter=",", skiprows=1, usecols=(0, 1)).T
    whole = len(steps) // AVERAGED * AVERAGED
    means = losses[:whole].reshape(-1, AVERAGED).mean(1)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pose2seg_ops", "font.size": 8}):
        figure = Figure(figsize=(6, 2.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(steps[AVERAGED - 1 : whole : AVERAGED], means)
        axes.set(xlabel="step", ylabel=f"loss, mean of {AVERAGED} steps", ylim=(0, None))
        figure.savefig(OUTPUT, format="svg", metadata={"Date": None})
    print(f"{OUTPUT}: from {means[0]:.3f} to {means[-1]:.3f}")


if __name__ == "__main__":
    main()
