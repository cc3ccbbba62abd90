"""Fuzzes the reader of pose templates."""

from pathlib import Path

from fuzzing import fuzz, mutate_json
from pose2seg.network.templates import load_templates


def read(path: Path) -> None:
    templates = load_templates(path)
    assert templates.shape[1:] == (17, 3), templates.shape
    assert templates.isfinite().all(), templates


fuzz(read, "templates.json", mutate_json)
