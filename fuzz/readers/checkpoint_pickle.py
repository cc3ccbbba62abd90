"""The original's weights, pickled, for a model of few parameters."""

from pathlib import Path

from fuzzing import fuzz
from pose2seg import Pose2Seg, load_templates
from pose2seg.checkpoint import load_checkpoint

_MODEL = Pose2Seg(
    load_templates(), backbone_blocks=(1, 1, 1, 1), backbone_width=1, channels=1, head_width=1, head_blocks=1
)


def read(path: Path) -> None:
    load_checkpoint(_MODEL, path)


fuzz(read, "weights.pkl")
