"""A simple reference for filled polygons."""

import numpy as np


def filled_pixel_by_pixel(polygons: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Fills polygons by the even-odd rule: counts the edges to the right of the centre of each pixel."""
    rows, columns = np.indices(size) + 0.5
    crossings = np.zeros(size, int)
    for polygon in polygons:
        for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if y1 != y2:
                x = x1 + (rows - y1) * (x2 - x1) / (y2 - y1)
                crossings += (np.minimum(y1, y2) < rows) & (rows < np.maximum(y1, y2)) & (x > columns)
    return crossings % 2 == 1
