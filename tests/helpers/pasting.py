"""Example maps to paste into images, and the overlap of two masks."""

import numpy as np
import torch


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / max((a | b).sum(), 1)


def example(dtype: torch.dtype = torch.float64, seed: int = 0):
    """Returns smooth blobs in 8 x 10 RoIs of two images of different sizes, one person partly outside."""
    random = np.random.default_rng(seed)
    probabilities = torch.from_numpy(random.random((5, 8, 10))).to(dtype)
    matrices = torch.tensor(
        [
            [[0.5, 0.1, -1.0], [-0.1, 0.5, 0.5]],
            [[-0.4, 0.2, 6.0], [0.2, 0.4, -2.0]],
            [[1.3, 0.0, -9.0], [0.0, 1.3, -8.0]],
            [[0.2, 0.0, 4.0], [0.0, 0.2, 4.0]],
            [[0.5, 0.0, 300.0], [0.0, 0.5, 0.0]],
        ],
        dtype=torch.float64 if dtype == torch.float64 else torch.float32,
    )
    return probabilities, matrices, torch.tensor([1, 0, 1, 1, 0]), [(21, 17), (13, 30)]
