"""A small prediction in which faults are caused, and kinds of faults."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt
import stopped
from known_masks import intricate_model
from pose2seg import save_checkpoint
from pose2seg.commands import cli
from pose2seg.common.images import read_image
from pose2seg.data import posed_images

Image = npt.NDArray[np.uint8]


class Outcome(NamedTuple):
    """The outcome of a fault.

    code: the exit code.
    said: the messages on the standard error.
    result: what else was checked.
    """

    code: int | str
    said: str
    result: str


@dataclass(frozen=True)
class Fault:
    """A fault; `happens` causes it in an empty folder."""

    name: str
    happens: Callable[[Path], Outcome]


def drawing(height: int = 40, width: int = 30) -> Image:
    """Returns an image without sharp edges."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (9, 9), 0).astype(np.uint8)


def pose(x: float = 5, y: float = 5) -> list[float]:
    return [number for j in range(17) for number in (x + 3 * (j % 4), y + 4 * (j // 4), 2)]


def pose_within(height: int, width: int) -> list[float]:
    """Returns a pose, clipped to a small image."""
    most = (width - 0.6, height - 0.6, 2)
    return [min(number, most[i % 3]) for i, number in enumerate(pose())]


class Scene:
    """A folder with images, poses of the people in them, and a model, on which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir()
        self.output, self.page = folder / "masks.json", folder / "page.html"
        self.poses: Any = []  # the content of poses.json
        save_checkpoint(intricate_model(), folder / "model.safetensors")

    def add(self, name: str, content: bytes | Image, people: int = 1) -> Path:
        """Adds an image, encoded or not, with people."""
        path = self.images / name
        encoded = content if isinstance(content, bytes) else cv2.imencode(".png", content)[1].tobytes()
        path.write_bytes(encoded)
        for i in range(people):
            keypoints = pose(i % 5 + i / 10000, i // 5 % 7)  # all are different
            self.poses.append({"image_id": path.stem, "keypoints": keypoints, "score": 0.5})
        return path

    def arguments(self, *more: str) -> list[str]:
        (self.folder / "poses.json").write_text(json.dumps(self.poses))
        options = {"poses": "poses.json", "weights": "model.safetensors", "output": "masks.json"}
        words = [word for name, file in options.items() for word in (f"--{name}", str(self.folder / file))]
        return ["predict", str(self.images), *words, "--device", "cpu", "--batch-size", "1", *more]

    def predict(self, *more: str) -> tuple[int, str]:
        """Runs a prediction. Returns the exit code and the messages."""
        return self.command(self.arguments(*more))

    def command(self, arguments: list[str]) -> tuple[int, str]:
        """Runs a command. Returns the exit code and the messages."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = cli.main(arguments)
        return code, self.shortened(said.getvalue())

    def results(self) -> dict[str, str]:
        """Returns the existing results, the masks and the page, without the parts that vary between runs."""
        paths = [path for path in (self.output, self.page) if path.exists()]
        return {path.name: re.sub(r" masks [\d.,]+\s(ms|s)", "", path.read_text()) for path in paths}

    def resume(self, expected: dict[str, str], *more: str) -> str:
        """Resumes a prediction, which must give the expected results and process no image twice.

        Returns the messages.
        """
        left = {path.stem for path in self.images.iterdir()} - stopped.finished_images(self.output)
        with mock.patch.object(posed_images, "read_image", wraps=read_image) as read:
            code, said = self.predict("--resume", *more)
        assert code == 0, said
        assert {call.args[0].stem for call in read.call_args_list} == left
        assert self.results() == expected
        names = {path.name for path in self.folder.iterdir()} - {"said", "said.peak", "overlays", "openpose"}
        assert names == {"images", "poses.json", "model.safetensors", *expected}
        return said

    def shortened(self, said: str) -> str:
        """Returns messages without the parts that vary between runs."""
        said = said.replace(f"{self.folder}/", "").replace("pose2seg: ", "")
        said = re.sub(r" in [\d.]+ s(, [\d.]+ images/s)?(,? in \w+)?", "", said)
        said = re.sub(r"\d+ (images were|image was) done before", "N images were done before", said)
        said = re.sub(r"(not a safetensors file): .*", r"\1: ...", said)
        return re.sub(r"[0-9a-f]{16}", "NAME", said).strip()

    def sizes(self) -> dict[int | str, list[int]]:
        """Returns the size of the mask of each image, which has one person."""
        results = json.loads(self.output.read_text())
        return {result["image_id"]: result["segmentation"]["size"] for result in results}


def image_is_read(name: str, file: str, content: Callable[[], bytes], expected: Callable[[], Image]) -> Fault:
    """Returns a fault with a good image and another one, which must be read as `expected` up to rounding."""

    def happens(folder: Path) -> Outcome:
        scene = Scene(folder)
        scene.add("good.png", drawing())
        path, right = scene.add(file, content()), expected()
        scene.poses[-1]["keypoints"] = pose_within(*right.shape[:2])
        code, said = scene.predict()
        got = read_image(path)
        assert scene.sizes() == {"good": [40, 30], path.stem: list(right.shape[:2])}
        assert cv2.norm(got, right, cv2.NORM_L1) <= right.size
        return Outcome(code, said, "its mask is that of the correct pixels")

    return Fault(name, happens)


def image_is_left_out(
    name: str, file: str, spoil: Callable[[Path], object], remark: str = "the other image has its mask"
) -> Fault:
    """Returns a fault with a good image and a damaged one."""

    def happens(folder: Path) -> Outcome:
        scene = Scene(folder)
        scene.add("good.png", drawing())
        spoil(scene.add(file, drawing()))
        code, said = scene.predict()
        assert scene.sizes() == {"good": [40, 30]}
        return Outcome(code, said, remark)

    return Fault(name, happens)


def refused(name: str, *more: str, prepare: Callable[[Scene], object] = lambda scene: None) -> Fault:
    """Returns a fault for which nothing is written and an older output remains.

    In `more`, {} is the folder.
    """

    def happens(folder: Path) -> Outcome:
        scene = Scene(folder)
        scene.add("good.png", drawing())
        scene.output.write_text("older")
        prepare(scene)
        words = scene.arguments(*(word.replace("{}", str(folder)) for word in more))
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        code, said = scene.command(words)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        return Outcome(code, said, "nothing is written")

    return Fault(name, happens)
