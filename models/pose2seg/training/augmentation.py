"""Random changes of photographs and people. Matrices are 2x3, source -> destination, float64."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.model import INPUT_SIZE
from pose2seg.templates import MIRRORED

Matrix = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]


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
        scale = self._draw_scale(rng)
        centre = np.array(size[::-1]) / 2
        shift = rng.uniform(-self.shift, self.shift, 2) * size[::-1]
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack([linear, centre + shift - linear @ centre])

    def _draw_scale(self, rng: np.random.Generator) -> float:
        smallest, largest = self.scale
        return math.exp(rng.uniform(math.log(smallest), math.log(largest)))


@dataclass(frozen=True)
class OriginalSimilarity(Similarity):
    """A range of similarities whose factor itself is drawn evenly, as the original Pose2Seg does."""

    def _draw_scale(self, rng: np.random.Generator) -> float:
        return rng.uniform(*self.scale)


@dataclass(frozen=True)
class Crop:
    """A range of views of a person: a square at a random place around the whole of it, within the photograph.

    It trains small networks sooner than whole photographs do: more of the input is people.

    angle: up to so many degrees either way.
    scale: the smallest and the largest factor to the scale of a prediction's letterbox, drawn evenly in their
        logarithm; it is less where the person would not fit.
    """

    angle: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def draw(self, rng: np.random.Generator, size: tuple[int, int], box: Box, crop_size: int) -> Matrix:
        """A random matrix (2, 3) from a photograph of (height, width) to the square.

        box: x, y, width and height of the person in the photograph.
        """
        similarity = Similarity(self.angle, self.scale).draw(rng, (0, 0))
        linear = similarity[:, :2] * letterbox_matrix(size, INPUT_SIZE)[0, 0]
        left_top, extent = np.array(box[:2]), np.array(box[2:])
        linear *= min(1, crop_size / (np.abs(linear) @ extent).max())
        centre, half = linear @ (left_top + extent / 2), np.abs(linear) @ extent / 2
        corners = linear @ np.array([[0, size[1], 0, size[1]], [0, 0, size[0], size[0]]])
        # Where the square has to be moved so that it holds the person, and does not leave the photograph.
        low = half - centre
        high = np.maximum(low, crop_size - half - centre)
        edges = np.sort([-corners.min(1), crop_size - corners.max(1)], axis=0)
        return np.column_stack([linear, np.clip(np.clip(rng.uniform(low, high), *edges), low, high)])


@dataclass(frozen=True)
class Augmentation:
    """How photographs and people are changed at random. The default is what the original Pose2Seg does.

    align: of each person within the align frame, after the fit of a template.
    input: of the photograph within the network input, after the letterbox; or crops instead.
    flip: the probability of mirroring, with left and right joints swapped.
    paste: up to so many people of other photographs are pasted into each.
    brightness, contrast, saturation: factors from 1 - x to 1 + x.
    """

    align: Similarity = OriginalSimilarity(angle=30, scale=(0.8, 1.2), shift=0.1)
    input: Similarity | Crop = Similarity()
    flip: float = 0.0
    paste: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def draw_to_input(
        self, rng: np.random.Generator, size: tuple[int, int], box: Box, input_size: int
    ) -> Matrix:
        """A random matrix (2, 3) from a photograph of (height, width) to the square network input.

        box: x, y, width and height of the person that a crop shows.
        Its determinant is negative where it mirrors.
        """
        if isinstance(self.input, Crop):
            matrix = self.input.draw(rng, size, box, input_size)
        else:
            similarity = self.input.draw(rng, (input_size, input_size))
            matrix = compose(similarity, letterbox_matrix(size, input_size))
        if rng.random() < self.flip:
            mirror = np.array([[-1.0, 0, input_size - 1], [0, 1, 0]])
            matrix = compose(mirror, matrix)
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


def inverse(matrix: Matrix) -> Matrix:
    """The matrix that undoes one."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def is_inside(box: Box, matrix: Matrix, size: int) -> bool:
    """Whether a matrix moves the whole of a box (x, y, width, height) into a square of this size."""
    x, y, width, height = box
    corners = np.array([[x, x + width, x, x + width], [y, y, y + height, y + height], [1, 1, 1, 1]])
    moved = matrix @ corners
    return bool(moved.min() >= -_TOLERANCE and moved.max() <= size + _TOLERANCE)


_TOLERANCE = 1.001  # pixels; boxes end between pixels, and are one off when those are mirrored


def transform_poses(keypoints: npt.NDArray[np.float32], matrix: Matrix) -> npt.NDArray[np.float32]:
    """Move poses (n, 17, 3); left and right joints are swapped where the matrix mirrors."""
    moved = keypoints.copy()
    moved[:, :, :2] = keypoints[:, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, MIRRORED] if np.linalg.det(matrix[:, :2]) < 0 else moved
