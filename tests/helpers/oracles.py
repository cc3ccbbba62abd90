"""Slow float64 numpy implementations of the ops, written independently of them."""

import numpy as np


def sample(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Returns the bilinear value of `image` (H, W, ...) at (x, y); taps outside count as 0."""
    height, width = image.shape[:2]
    value = np.zeros(image.shape[2:])
    if not (abs(x) < 1e9 and abs(y) < 1e9):
        return value
    left, upper = int(np.floor(x)), int(np.floor(y))
    for column, row in ((left, upper), (left + 1, upper), (left, upper + 1), (left + 1, upper + 1)):
        if 0 <= column < width and 0 <= row < height:
            value = value + (1 - abs(x - column)) * (1 - abs(y - row)) * image[row, column].astype(np.float64)
    return value


def warp(image: np.ndarray, to_image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Samples `image` (H, W, ...) at `to_image` (3, 3) @ (column, row, 1) for every pixel of `size`."""
    output = np.zeros((*size, *image.shape[2:]))
    for row in range(size[0]):
        for column in range(size[1]):
            x, y, _ = to_image @ (column, row, 1)
            output[row, column] = sample(image, x, y)
    return output


def square(matrix: np.ndarray) -> np.ndarray:
    """Appends the third row to a 2x3 matrix, in float64."""
    return np.vstack((np.asarray(matrix, np.float64), (0, 0, 1)))


def affine_align(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], convention: str) -> np.ndarray:
    """Computes one instance of affine_align: `image` (C, H, W) -> (C, h, w)."""
    height, width = image.shape[1:]
    inverse = np.linalg.inv(square(matrix))
    if convention == "half_pixel":
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        inverse = np.linalg.inv(half) @ inverse @ half
    if convention == "pose2seg":
        stretch = np.diag((width / (width - 1), height / (height - 1), 1))
        inverse = np.linalg.inv(stretch) @ inverse @ stretch
    return warp(image.transpose(1, 2, 0), inverse, size).transpose(2, 0, 1)


def skeleton_maps(
    people: np.ndarray,
    size: tuple[int, int],
    limbs: tuple[tuple[int, int], ...],
    sigma: float,
    limb_width: float,
    stride: int,
    signed: bool,
    limb_overlap: str,
) -> np.ndarray:
    """Draws people (P, K, 3) one after the other, region by region, into one (K + 2 L, h, w) map."""
    height, width = size
    joints = people.shape[1]
    maps = np.zeros((joints + 2 * len(limbs), height, width))
    vectors: dict[
        tuple[int, int, int], list[np.ndarray]
    ] = {}  # the vectors of all limbs over a cell, in the order of people
    for person in people.astype(np.float64):
        for k, (x, y, visibility) in enumerate(person):
            if visibility <= 0:
                continue
            for row in range(height):
                for column in range(width):
                    px, py = (stride * cell + stride / 2 - 0.5 for cell in (column, row))
                    exponent = ((px - x) ** 2 + (py - y) ** 2) / (2 * sigma**2)
                    if exponent < 4.6025:
                        value = max(maps[k, row, column], np.exp(-exponent))
                        maps[k, row, column] = -value if signed and visibility == 1 else value
        for i, (a, b) in enumerate(limbs):
            if person[a, 2] <= 0 or person[b, 2] <= 0:
                continue
            start, end = person[a, :2] / stride, person[b, :2] / stride
            length = np.linalg.norm(end - start)
            if length == 0:
                continue
            unit = (end - start) / length
            low, high = np.minimum(start, end) - limb_width, np.maximum(start, end) + limb_width
            for row in range(max(round(low[1]), 0), min(round(high[1]), height)):
                for column in range(max(round(low[0]), 0), min(round(high[0]), width)):
                    dx, dy = column - start[0], row - start[1]
                    if abs(dx * unit[1] - dy * unit[0]) < limb_width:
                        vectors.setdefault((i, row, column), []).append(unit)
    for (i, row, column), units in vectors.items():
        vector = units[-1] if limb_overlap == "last" else np.mean(units, axis=0)
        maps[joints + 2 * i : joints + 2 * i + 2, row, column] = vector
    return maps


def fit_similarity(pose: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits `[a b tx; -b a ty]` over the common joints by least squares; returns it and its residuals."""
    common = (pose[:, 2] > 0) & (template[:, 2] > 0)
    x, y = pose[common, 0].astype(np.float64), pose[common, 1].astype(np.float64)
    one, zero = np.ones_like(x), np.zeros_like(x)
    system = np.concatenate((np.stack((x, y, one, zero), 1), np.stack((y, -x, zero, one), 1)))
    target = np.concatenate((template[common, 0], template[common, 1])).astype(np.float64)
    a, b, tx, ty = np.linalg.lstsq(system, target, rcond=None)[0]
    residuals = (system @ (a, b, tx, ty) - target).reshape(2, -1)
    return np.array([[a, b, tx], [-b, a, ty]]), np.hypot(*residuals)
