"""Pose estimators in ONNX files, which run in onnxruntime without their original framework."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pose2seg.common.errors import InputError
from pose2seg.common.text import shown
from pose2seg.data.poses.estimators.interface import Detections
from pose2seg.data.poses.estimators.letterbox import letterbox
from pose2seg.data.poses.estimators.suppression import suppress
from pose2seg.data.poses.people import Person
from pose2seg_ops import COCO_KEYPOINTS

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float32]

_JOINTS = len(COCO_KEYPOINTS)
_BOX = 4


def open_onnx(path: Path, device: torch.device, joint_threshold: float) -> "YoloPose | RTMO":
    """Opens the estimator in an ONNX file: a YOLO-pose model of Ultralytics, or RTMO of MMPose.

    It runs on the GPU if `device` is one and onnxruntime has its CUDA provider, and otherwise on the CPU.

    Raises InputError if onnxruntime is not installed or cannot read the file, or if the file contains another
    network.
    """
    session = _open_session(path, device)
    outputs = {output.name: output.shape for output in session.get_outputs()}
    if len(outputs) == 1:
        return YoloPose(path, session, joint_threshold)
    if outputs.keys() == {"dets", "keypoints"}:
        return RTMO(path, session, joint_threshold)
    raise InputError(
        f"{path}: must have one output, as YOLO-pose, or RTMO's outputs dets and keypoints, "
        f"got {', '.join(outputs)}"
    )


def providers_for(device: torch.device) -> list[Any]:
    """Returns onnxruntime's providers for a device, the best first.

    Raises InputError if it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "onnxruntime is not installed: pip install onnxruntime, or onnxruntime-gpu for a GPU"
        ) from error
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    return providers


def _open_session(path: Path, device: torch.device) -> Any:
    providers = providers_for(device)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # onnxruntime's own classes have only Exception in common
        raise InputError(f"{path}: onnxruntime cannot load it: {error}") from error


class _Network:
    """A network whose input is one image, (1, 3, height, width).

    size: (height, width) of the input, or None if it is dynamic.
    """

    def __init__(self, path: Path, session: Any) -> None:
        inputs = session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else None
        if shape is None or len(shape) != 4 or shape[1] != 3 or (shape[0] != 1 and isinstance(shape[0], int)):
            got = [each.shape for each in inputs]
            raise InputError(f"{path}: the input must be one image, (1, 3, height, width), got {shown(got)}")
        fixed = isinstance(shape[2], int) and isinstance(shape[3], int)
        self.size: tuple[int, int] | None = (shape[2], shape[3]) if fixed else None
        self._path = path
        self._session = session
        self._name = inputs[0].name
        self._dtype = np.float16 if inputs[0].type == "tensor(float16)" else np.float32

    def __call__(self, image: Array, outputs: list[str] | None = None) -> list[Array]:
        """Returns the outputs for an image (height, width, 3), without their batch dimension."""
        batch = np.ascontiguousarray(image.transpose(2, 0, 1)[None], self._dtype)
        try:
            results = self._session.run(outputs, {self._name: batch})
        except Exception as error:
            raise InputError(f"{self._path}: onnxruntime cannot run it: {error}") from error
        return [result[0].astype(np.float32) for result in results]


class YoloPose:
    """A YOLO-pose model that Ultralytics exported, with or without its non-maximum suppression.

    Boxes, joints and scores equal those of Ultralytics' own `predict` with its defaults: people with a score
    above `MINIMUM_SCORE`, after non-maximum suppression, and at most `MOST_PEOPLE`.
    """

    MINIMUM_SCORE = 0.25
    MAXIMUM_IOU = 0.7
    MOST_PEOPLE = 300

    def __init__(self, path: Path, session: Any, joint_threshold: float) -> None:
        self._network = _Network(path, session)
        facts = _Metadata(path, session.get_modelmeta().custom_metadata_map)
        self._dimensions = facts.joint_dimensions()
        self._size, self._stride = self._network.size, None
        if self._size is None:
            self._size, self._stride = facts.image_size(), facts.stride()
        self._path = path
        self._joint_threshold = joint_threshold

    def __call__(self, image: Image, /) -> list[Person]:
        """See `PoseEstimator`."""
        return self.detect(image).people(self._joint_threshold)

    def detect(self, image: Image) -> Detections:
        """Returns the people in an image, (H, W, 3) uint8 BGR."""
        assert self._size is not None
        framed = letterbox(image, self._size, centred=True, stride=self._stride)
        (output,) = self._network(framed.image[:, :, ::-1].astype(np.float32) / np.float32(255))
        boxes, scores, joints = self._people_of(output)
        height, width = image.shape[:2]
        boxes = framed.to_original(boxes.reshape(-1, 2, 2))
        joints[:, :, :2] = framed.to_original(joints[:, :, :2])
        for positions in (boxes, joints[:, :, :2]):  # clamped to the image, as by Ultralytics
            np.clip(positions, 0, (width, height), out=positions)
        return Detections(boxes.reshape(-1, _BOX), scores, joints)

    def _people_of(self, output: Array) -> Detections:
        """Returns the people in the network's output, in pixels of its input."""
        numbers = _JOINTS * self._dimensions
        if len(output) == _BOX + 1 + numbers:  # for every anchor: centre, width and height, score, joints
            rows = output.T[output[_BOX] > self.MINIMUM_SCORE]
            halves = rows[:, 2:4] / 2
            boxes = np.hstack([rows[:, :2] - halves, rows[:, :2] + halves])
            kept = suppress(boxes, rows[:, _BOX], self.MAXIMUM_IOU)[: self.MOST_PEOPLE]
            rows, boxes = rows[kept], boxes[kept]
        elif output.shape[1:] == (_BOX + 2 + numbers,):  # for every person: corners, score, class, joints
            rows = output[output[:, _BOX] > self.MINIMUM_SCORE][: self.MOST_PEOPLE]
            boxes = rows[:, :_BOX]
        else:
            raise InputError(
                f"{self._path}: for {_JOINTS} joints with {numbers} numbers, the output must be "
                f"({_BOX + 1 + numbers}, n) or (n, {_BOX + 2 + numbers}), got {output.shape}"
            )
        joints = rows[:, -numbers:].reshape(-1, _JOINTS, self._dimensions)
        confidences = joints[:, :, 2:] if self._dimensions == 3 else np.ones_like(joints[:, :, :1])
        return Detections(boxes, rows[:, _BOX], np.concatenate([joints[:, :, :2], confidences], axis=2))


class _Metadata:
    """The metadata that Ultralytics writes into its files, as Python literals."""

    def __init__(self, path: Path, entries: dict[str, str]) -> None:
        self._path = path
        self._entries = entries

    def joint_dimensions(self) -> int:
        """Returns how many numbers a joint has, 2 or 3.

        Raises InputError for other joints or several classes.
        """
        classes = self._literal("names", {})
        if len(classes) > 1:
            raise InputError(f"{self._path}: must detect only people, got {len(classes)} classes")
        match self._literal("kpt_shape", None):
            case [17, (2 | 3) as dimensions]:
                return int(dimensions)
            case shape:
                raise InputError(
                    f'{self._path}: must be a YOLO-pose model with "kpt_shape" [17, 3] or [17, 2], '
                    f"got {shown(shape)}"
                )

    def image_size(self) -> tuple[int, int]:
        """Returns the (height, width) of the input."""
        match self._literal("imgsz", None):
            case [int(height), int(width)] if height > 0 and width > 0:
                return height, width
        raise InputError(f'{self._path}: "imgsz" must be the size of the input, because that is dynamic')

    def stride(self) -> int:
        stride = self._literal("stride", 32)
        return stride if isinstance(stride, int) and stride > 0 else 32

    def _literal(self, name: str, default: Any) -> Any:
        try:
            return ast.literal_eval(self._entries[name]) if name in self._entries else default
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise InputError(f'{self._path}: "{name}" cannot be read: {shown(self._entries[name])}') from None


class RTMO:
    """RTMO (Lu et al., CVPR 2024) as MMDeploy exports it, with outputs "dets" and "keypoints".

    People with a score above `MINIMUM_SCORE` are returned, after non-maximum suppression, as in rtmlib.
    """

    MINIMUM_SCORE = 0.7
    MAXIMUM_IOU = 0.45

    def __init__(self, path: Path, session: Any, joint_threshold: float) -> None:
        self._network = _Network(path, session)
        self._size = self._network.size or (640, 640)
        self._path = path
        self._joint_threshold = joint_threshold

    def __call__(self, image: Image, /) -> list[Person]:
        """See `PoseEstimator`."""
        return self.detect(image).people(self._joint_threshold)

    def detect(self, image: Image) -> Detections:
        """Returns the people in an image, (H, W, 3) uint8 BGR."""
        framed = letterbox(image, self._size, centred=False)
        found, joints = self._network(framed.image.astype(np.float32), ["dets", "keypoints"])
        if found.shape[1:] != (_BOX + 1,) or joints.shape != (len(found), _JOINTS, 3):
            raise InputError(
                f"{self._path}: outputs must be dets (n, {_BOX + 1}) and keypoints (n, {_JOINTS}, 3), "
                f"got {found.shape} and {joints.shape}"
            )
        sure = found[:, _BOX] > self.MINIMUM_SCORE
        found, joints = found[sure], joints[sure]
        kept = suppress(found[:, :_BOX], found[:, _BOX], self.MAXIMUM_IOU)
        found, joints = found[kept], joints[kept]
        joints[:, :, :2] = framed.to_original(joints[:, :, :2])
        boxes = framed.to_original(found[:, :_BOX].reshape(-1, 2, 2))
        return Detections(boxes.reshape(-1, _BOX), found[:, _BOX], joints)
