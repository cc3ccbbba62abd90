"""Data that is not in the repository, but in `shared/` beside it; without it, the tests that need it skip."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pose2seg.dataset import PersonImage, read_dataset


def shared_path(name: str) -> Path:
    """A file or folder of `shared/`; skips the calling test where it is not at hand."""
    path = Path(__file__).resolve().parents[2] / "shared" / name
    if not path.exists():
        pytest.skip(f"not at hand: ../shared/{name}")
    return path


def shared_module(name: str) -> ModuleType:
    """A Python file of `shared/`, imported."""
    path = shared_path(name)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def real_images() -> list[PersonImage]:
    """100 real photographs with 447 people."""
    folder = shared_path("data/coco_persons")
    return read_dataset(folder / "val.json", folder / "val")
