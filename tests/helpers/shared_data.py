"""Data in `shared/` beside the repository; tests that need it are skipped if it is missing."""

from pathlib import Path

import pytest
from paths import ROOT
from pose2seg.data.dataset import PersonImage, read_dataset


def shared_path(name: str) -> Path:
    """Returns a file or folder of `shared/`; skips the test if it is missing."""
    path = ROOT.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"missing: ../shared/{name}")
    return path


def real_images() -> list[PersonImage]:
    """Returns 100 real images with 447 people."""
    folder = shared_path("data/coco_persons")
    return read_dataset(folder / "val.json", folder / "val")
