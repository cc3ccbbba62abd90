"""Random changes of photographs and people. Matrices are 2x3, source -> destination, float64."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.templates import MIRRORED

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """A range of similarities about the centre of a frame.

    angle: up to so many degrees either way.
    scale: the smallest and the largest factor, drawn evenly in their logarithm.
    shift: up to this share of the frame's width and height either way.
    """

    angle: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Matrix:
        """A random one, (2, 3), for a frame of (height, width)."""
        angle = math.radians(rng.uniform(-self.angle, self.angle))
        smallest, largest = self.scale
        scale = math.exp(rng.uniform(math.log(smallest), math.log(largest)))
        centre = np.array(size[::-1]) / 2
        shift = rng.uniform(-self.shift, self.shift, 2) * size[::-1]
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack([linear, centre + shift - linear @ centre])


@dataclass(frozen=True)
class Augmentation:
    """How photographs and people are changed at random. The default is what the original Pose2Seg does.

    align: of each person within the align frame, after the fit of a template.
    input: of the photograph within the network input, after the letterbox.
    flip: the probability of mirroring, with left and right joints swapped.
    brightness, contrast, saturation: factors from 1 - x to 1 + x.
    """

    align: Similarity = Similarity(angle=30, scale=(0.8, 1.2), shift=0.1)
    input: Similarity = Similarity()
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def draw_to_input(self, rng: np.random.Generator, size: tuple[int, int], input_size: int) -> Matrix:
        """A random matrix (2, 3) from a photograph of (height, width) to the square network input.

        Its determinant is negative where it mirrors.
        """
        matrix = compose(self.input.draw(rng, (input_size, input_size)), letterbox_matrix(size, input_size))
        if rng.random() < self.flip:
            matrix = compose(matrix, np.array([[-1.0, 0, size[1] - 1], [0, 1, 0]]))
        return matrix

    def change_colours(self, rng: np.random.Generator, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The photograph, (H, W, 3) uint8 BGR, in random colours."""
        ranges = (self.brightness, self.contrast, self.saturation)
        brightness, contrast, saturation = (1 + rng.uniform(-x, x) for x in ranges)
        if saturation != 1:
            grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0).astype(np.uint8, copy=False)
        if brightness != 1 or contrast != 1:
            values = np.arange(256)
            mean = image.mean()
            table = np.clip(((values - mean) * contrast + mean) * brightness, 0, 255)
            image = cv2.LUT(image, np.rint(table).astype(np.uint8)).astype(np.uint8, copy=False)
        return image


def letterbox_matrix(size: tuple[int, int], input_size: int) -> Matrix:
    """The matrix of `pose2seg_ops.letterbox` for a photograph of (height, width) and a square input."""
    scale = min(input_size / size[1], input_size / size[0])
    centre = np.array(size[::-1]) / 2
    return np.column_stack([scale * np.eye(2), input_size / 2 - scale * centre])


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """The matrix that applies `inner` first and `outer` then."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def transform_poses(keypoints: npt.NDArray[np.float32], matrix: Matrix) -> npt.NDArray[np.float32]:
    """Move poses (n, 17, 3); left and right joints are swapped where the matrix mirrors."""
    moved = keypoints.copy()
    moved[:, :, :2] = keypoints[:, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, MIRRORED] if np.linalg.det(matrix[:, :2]) < 0 else moved
