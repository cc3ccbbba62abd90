"""Random augmentation of images and people. Matrices are 2x3, source -> destination, float64."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.network.model import INPUT_SIZE
from pose2seg.network.templates import MIRRORED

Matrix = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Similarity:
    """A distribution of similarity transforms about the centre of an image.

    angle: the largest rotation in degrees, in both directions.
    scale: the smallest and the largest factor, whose logarithm is uniformly distributed.
    shift: the largest shift in both directions, relative to the image's width and height.
    """

    angle: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Matrix:
        """Returns a random matrix (2, 3) for an image of size (height, width)."""
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
    """A distribution of similarity transforms with a uniform factor, as in the original Pose2Seg."""

    def _draw_scale(self, rng: np.random.Generator) -> float:
        return rng.uniform(*self.scale)


@dataclass(frozen=True)
class Crop:
    """A distribution of square image crops at random positions that contain a whole person.

    It trains small networks faster than whole images do, because people fill more of the input.

    angle: the largest rotation in degrees, in both directions.
    scale: the smallest and the largest factor, relative to the letterbox of a prediction, whose logarithm is
        uniformly distributed. It is reduced if the person would not fit.
    """

    angle: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def draw(self, rng: np.random.Generator, size: tuple[int, int], box: Box, crop_size: int) -> Matrix:
        """Returns a random matrix (2, 3) from an image of size (height, width) to the square.

        box: x, y, width and height of the person in the image.
        """
        similarity = Similarity(self.angle, self.scale).draw(rng, (0, 0))
        linear = similarity[:, :2] * letterbox_matrix(size, INPUT_SIZE)[0, 0]
        left_top, extent = np.array(box[:2]), np.array(box[2:])
        linear *= min(1, crop_size / (np.abs(linear) @ extent).max())
        centre, half = linear @ (left_top + extent / 2), np.abs(linear) @ extent / 2
        corners = linear @ np.array([[0, size[1], 0, size[1]], [0, 0, size[0], size[0]]])
        # Between `low` and `high` the square contains the person; between the edges it stays in the image.
        low = half - centre
        high = np.maximum(low, crop_size - half - centre)
        edges = np.sort([-corners.min(1), crop_size - corners.max(1)], axis=0)
        return np.column_stack([linear, np.clip(np.clip(rng.uniform(low, high), *edges), low, high)])


@dataclass(frozen=True)
class Augmentation:
    """The random augmentation of images and people. The default is that of the original Pose2Seg.

    align: the transform of each person within the crop, after the fit of a template.
    input: the transform of the image within the network input, after the letterbox; or a `Crop` of the image.
    flip: the probability of mirroring, with left and right joints swapped.
    paste: the largest number of people from other images that are pasted into each image.
    detected: the probability that a person's pose is changed to look like a detector's (`as_detected`).
    brightness, contrast, saturation: x, for a random factor from 1 - x to 1 + x.
    """

    align: Similarity = OriginalSimilarity(angle=30, scale=(0.8, 1.2), shift=0.1)
    input: Similarity | Crop = Similarity()
    flip: float = 0.0
    paste: int = 0
    detected: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def draw_to_input(
        self, rng: np.random.Generator, size: tuple[int, int], box: Box, input_size: int
    ) -> Matrix:
        """Returns a random matrix (2, 3) from an image of size (height, width) to the square network input.

        The determinant is negative if the matrix mirrors.

        box: x, y, width and height of the person that an image crop must contain.
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
        """Returns an image, (H, W, 3) uint8 BGR, with randomly changed colours."""
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
    """Returns the matrix of `pose2seg_ops.letterbox` for an image of (height, width) and a square input."""
    scale = min(input_size / size[1], input_size / size[0])
    centre = np.array(size[::-1]) / 2
    return np.column_stack([scale * np.eye(2), input_size / 2 - scale * centre])


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """Returns the matrix that first applies `inner` and then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def inverse(matrix: Matrix) -> Matrix:
    """Returns the inverse of a matrix."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def is_inside(box: Box, matrix: Matrix, size: int) -> bool:
    """Returns whether a matrix moves a whole box (x, y, width, height) into a square of this size."""
    x, y, width, height = box
    corners = np.array([[x, x + width, x, x + width], [y, y, y + height, y + height], [1, 1, 1, 1]])
    moved = matrix @ corners
    return bool(moved.min() >= -_TOLERANCE and moved.max() <= size + _TOLERANCE)


_TOLERANCE = 1.001  # pixels; the edges of boxes lie between pixels, so a mirrored box may be off by one


def transform_poses(keypoints: npt.NDArray[np.float32], matrix: Matrix) -> npt.NDArray[np.float32]:
    """Transforms poses (n, 17, 3); left and right joints are swapped if the matrix mirrors."""
    moved = keypoints.copy()
    moved[:, :, :2] = keypoints[:, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, MIRRORED] if np.linalg.det(matrix[:, :2]) < 0 else moved
