"""A small prediction to bring faults about in, and kinds of faults."""

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
from pose2seg import cli, photographs, save_checkpoint
from pose2seg.files import read_image

Image = npt.NDArray[np.uint8]


class Outcome(NamedTuple):
    """An exit code, what was said on the standard error, and what else is the case: checked, not assumed."""

    code: int | str
    said: str
    result: str


@dataclass(frozen=True)
class Fault:
    """`happens` brings it about in an empty folder."""

    name: str
    happens: Callable[[Path], Outcome]


def drawing(height: int = 40, width: int = 30) -> Image:
    """A picture without sharp edges."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (9, 9), 0).astype(np.uint8)


def pose(x: float = 5, y: float = 5) -> list[float]:
    return [number for j in range(17) for number in (x + 3 * (j % 4), y + 4 * (j // 4), 2)]


def pose_within(height: int, width: int) -> list[float]:
    """The same, in as much of an image as there is."""
    most = (width - 0.6, height - 0.6, 2)
    return [min(number, most[i % 3]) for i, number in enumerate(pose())]


class Scene:
    """A folder with images, poses of the people in them, and a model; and `predict` on them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir()
        self.output, self.page = folder / "masks.json", folder / "page.html"
        self.poses: Any = []  # what poses.json holds
        save_checkpoint(intricate_model(), folder / "model.safetensors")

    def add(self, name: str, content: bytes | Image, people: int = 1) -> Path:
        """An image, encoded or not, with people."""
        path = self.images / name
        encoded = content if isinstance(content, bytes) else cv2.imencode(".png", content)[1].tobytes()
        path.write_bytes(encoded)
        for i in range(people):
            keypoints = pose(i % 5, i // 5 % 7)
            self.poses.append({"image_id": path.stem, "keypoints": keypoints, "score": 0.5})
        return path

    def arguments(self, *more: str) -> list[str]:
        (self.folder / "poses.json").write_text(json.dumps(self.poses))
        options = {"poses": "poses.json", "weights": "model.safetensors", "output": "masks.json"}
        words = [word for name, file in options.items() for word in (f"--{name}", str(self.folder / file))]
        return ["predict", str(self.images), *words, "--device", "cpu", "--batch-size", "1", *more]

    def predict(self, *more: str) -> tuple[int, str]:
        """The exit code, and what is said."""
        return self.command(self.arguments(*more))

    def command(self, arguments: list[str]) -> tuple[int, str]:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = cli.main(arguments)
        return code, self.shortened(said.getvalue())

    def results(self) -> dict[str, str]:
        """The masks and the page, as far as they are there: what of them is the same in every run."""
        paths = [path for path in (self.output, self.page) if path.exists()]
        return {path.name: re.sub(r" masks [\d.,]+\s(ms|s)", "", path.read_text()) for path in paths}

    def resume(self, expected: dict[str, str], *more: str) -> str:
        """What is said when a prediction goes on, to the expected results, and does no image twice."""
        left = {path.stem for path in self.images.iterdir()} - stopped.finished_images(self.output)
        with mock.patch.object(photographs, "read_image", wraps=read_image) as read:
            code, said = self.predict("--resume", *more)
        assert code == 0, said
        assert {call.args[0].stem for call in read.call_args_list} == left
        assert self.results() == expected
        names = {path.name for path in self.folder.iterdir()} - {"said", "said.peak", "pictures", "openpose"}
        assert names == {"images", "poses.json", "model.safetensors", *expected}
        return said

    def shortened(self, said: str) -> str:
        """What is said, without what differs from run to run."""
        said = said.replace(f"{self.folder}/", "").replace("pose2seg: ", "")
        said = re.sub(r" in [\d.]+ s, [\d.]+ images/s", "", said)
        said = re.sub(r"\d+ (images were|image was) done before", "N images were done before", said)
        said = re.sub(r"(not a safetensors file): .*", r"\1: ...", said)
        return re.sub(r"[0-9a-f]{16}", "NAME", said).strip()

    def sizes(self) -> dict[int | str, list[int]]:
        """Of the masks, by the image: a person each."""
        results = json.loads(self.output.read_text())
        return {result["image_id"]: result["segmentation"]["size"] for result in results}


def image_is_read(name: str, file: str, content: Callable[[], bytes], expected: Callable[[], Image]) -> Fault:
    """Beside a good image, one that has to be read as `expected`, but for rounding."""

    def happens(folder: Path) -> Outcome:
        scene = Scene(folder)
        scene.add("good.png", drawing())
        path, right = scene.add(file, content()), expected()
        scene.poses[-1]["keypoints"] = pose_within(*right.shape[:2])
        code, said = scene.predict()
        got = read_image(path)
        assert scene.sizes() == {"good": [40, 30], path.stem: list(right.shape[:2])}
        assert cv2.norm(got, right, cv2.NORM_L1) <= right.size
        return Outcome(code, said, "its mask, from the right pixels")

    return Fault(name, happens)


def image_is_left_out(
    name: str, file: str, spoil: Callable[[Path], object], remark: str = "the other image has its mask"
) -> Fault:
    """Beside a good image, one that is spoilt."""

    def happens(folder: Path) -> Outcome:
        scene = Scene(folder)
        scene.add("good.png", drawing())
        spoil(scene.add(file, drawing()))
        code, said = scene.predict()
        assert scene.sizes() == {"good": [40, 30]}
        return Outcome(code, said, remark)

    return Fault(name, happens)


def refused(name: str, *more: str, prepare: Callable[[Scene], object] = lambda scene: None) -> Fault:
    """Nothing is written, and an older output stays. In `more`, {} is the folder."""

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
