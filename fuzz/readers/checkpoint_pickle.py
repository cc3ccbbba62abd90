"""Fuzzes the reader of the original's pickled weights, with a model of few parameters."""

from pathlib import Path

from fuzzing import fuzz
from pose2seg import Architecture, Pose2Seg, load_templates
from pose2seg.network.checkpoint import load_checkpoint

_MODEL = Pose2Seg(load_templates(), Architecture((1, 1, 1, 1), 1, 1, 1, 1))


def read(path: Path) -> None:
    load_checkpoint(_MODEL, path)


fuzz(read, "weights.pkl")
