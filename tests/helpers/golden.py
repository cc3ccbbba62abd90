"""The golden data: inputs and outputs of the original Pose2Seg, as tests/golden/README.md describes."""

from pathlib import Path

import numpy as np
from paths import TESTS
from shared_data import shared_path

FOLDER = TESTS / "golden"


def golden_path(name: str) -> Path:
    """Returns the path of a golden file; skips the test if it is neither in the repository nor beside it."""
    path = FOLDER / name
    return path if path.exists() else shared_path(f"golden/{name}")


def load_golden(name: str) -> dict[str, np.ndarray]:
    """Returns all arrays of a golden .npz file; skips the test like `golden_path`."""
    with np.load(golden_path(name)) as arrays:
        return dict(arrays)
