"""The golden data: inputs and outputs of the original Pose2Seg."""

from pathlib import Path

import numpy as np
from shared_data import shared_path


def golden_path(name: str) -> Path:
    """The path of one golden file; skips the calling test where the golden data is not at hand."""
    return shared_path(f"golden/{name}")


def load_golden(name: str) -> dict[str, np.ndarray]:
    """All arrays of one golden .npz file; skips the calling test where the golden data is not at hand."""
    with np.load(golden_path(name)) as arrays:
        return dict(arrays)
