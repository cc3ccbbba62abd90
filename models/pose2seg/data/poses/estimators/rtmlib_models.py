"""RTMO and RTMPose from rtmlib, which downloads them and runs them in onnxruntime."""

import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pose2seg.common.errors import InputError
from pose2seg.data.poses.arrays import people_from_arrays
from pose2seg.data.poses.estimators.download import announce_download
from pose2seg.data.poses.estimators.onnx_models import providers_for
from pose2seg.data.poses.people import Person


class RTMLibPose:
    """rtmlib's models for bodies (its mode "balanced"): RTMO, or YOLOX and RTMPose.

    rtmlib does not return scores of people; the score of a person is the mean confidence of the visible
    joints.

    name: "rtmo" or "rtmpose".

    Raises InputError if rtmlib, onnxruntime or the weights are not available.
    """

    def __init__(self, name: str, device: torch.device, joint_threshold: float) -> None:
        providers = providers_for(device)
        on_gpu = len(providers) > 1
        try:
            import rtmlib
            from rtmlib.tools import file as files
        except ImportError as error:
            raise InputError(
                f"rtmlib cannot be imported ({error}): pip install rtmlib onnxruntime"
            ) from error
        folder = Path(files._get_rtmhub_dir(), "checkpoints")
        urls = _urls(rtmlib.Body, name)
        for url in urls:
            announce_download(url, *_kept_as(url, folder))
        try:
            with redirect_stdout(sys.stderr):  # rtmlib prints what it loads to standard output
                self._body: Any = rtmlib.Body(
                    pose="rtmo" if name == "rtmo" else None,
                    mode=_MODE,
                    backend="onnxruntime",
                    device=f"cuda:{device.index or 0}" if on_gpu else "cpu",
                )
        except Exception as error:  # no network, a full disk, or a damaged file
            raise InputError(
                f"the weights of {name} cannot be loaded: {error}; download {' and '.join(urls)} to {folder}"
            ) from error
        self._joint_threshold = joint_threshold

    def __call__(self, image: npt.NDArray[np.uint8], /) -> list[Person]:
        """See `PoseEstimator`."""
        if self._body.one_stage:
            positions, confidences = self._body.pose_model(image)
        else:
            boxes = self._body.det_model(image)
            if not len(boxes):  # without boxes, RTMPose would use the whole image as a person
                return []
            positions, confidences = self._body.pose_model(image, boxes)
        return people_from_arrays(positions, confidences, self._joint_threshold)


_MODE = "balanced"  # the default of rtmlib's three modes


def _urls(body: Any, name: str) -> list[str]:
    if name == "rtmo":
        return [body.RTMO_MODE[_MODE]["pose"]]
    return [body.MODE[_MODE]["det"], body.MODE[_MODE]["pose"]]


def _kept_as(url: str, folder: Path) -> Iterable[Path]:
    """Returns the paths at which rtmlib may keep a file: the archive, or the network extracted from it."""
    archive = folder / Path(url).name
    return archive, folder / f"{archive.name.partition('.')[0]}.onnx"
