"""The golden data: inputs and outputs of the original Pose2Seg, in `shared/` beside the repository."""

from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def golden_path(name: str) -> Path:
    """The path of one golden file; skips the calling test where the golden data is not at hand."""
    path = SHARED / "golden" / name
    if not path.exists():
        pytest.skip(f"golden data not at hand: ../shared/golden/{name}")
    return path


def load_golden(name: str) -> dict[str, np.ndarray]:
    """All arrays of one golden .npz file; skips the calling test where the golden data is not at hand."""
    with np.load(golden_path(name)) as arrays:
        return dict(arrays)
