"""Faults of predictions and other commands, which are caused one by one.

`python tests/helpers/faults.py` writes the outcomes to docs/faults.md.
"""

import io
import json
import os
import pickle
import struct
import sys
import tempfile
import time
import unicodedata
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import safetensors.torch
import stopped
import torch
from fault_evaluations import EVALUATIONS
from fault_gone import GONE
from fault_scene import (
    Fault,
    Image,
    Outcome,
    Scene,
    drawing,
    image_is_left_out,
    image_is_read,
    pose,
    pose_within,
    refused,
)
from fault_stops import STOPS
from paths import ROOT
from PIL import Image as Pillow

from pose2seg_ops import COCO_KEYPOINTS

PAGE = ROOT / "docs/faults.md"


def encoded(form: str, image: Image | None = None, mode: str = "RGB", **options: object) -> bytes:
    """Encodes an image (H, W, 3) BGR with Pillow."""
    file = io.BytesIO()
    encoder = Pillow.fromarray((drawing() if image is None else image)[:, :, ::-1].copy())
    encoder.convert(mode).save(file, form, **options)
    return file.getvalue()


def animation(form: str, mode: str = "RGB", **options: object) -> bytes:
    first = grey() if mode == "L" else drawing()
    others = [Pillow.new(mode, (30, 40))]
    return encoded(form, first, mode, save_all=True, append_images=others, duration=99, **options)


def grey() -> Image:
    return np.repeat(drawing()[:, :, :1], 3, axis=2)


def rotated() -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be displayed rotated by 90 degrees
    return encoded("PNG", exif=exif)


def of_16_bits(form: str, image: Image) -> bytes:
    return cv2.imencode(form, image.astype(np.uint16) * 257)[1].tobytes()


def bomb() -> bytes:
    """Returns a PNG of 125 KB that decodes to 3 GB."""
    side = 32_000
    header, rows = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), bytes(side * (1 + side // 8))
    return png(header, zlib.compress(rows))


def declared_size(width: int, height: int) -> bytes:
    """Returns a PNG with this size in its header, and without pixels."""
    return png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), zlib.compress(b""))


def png(header: bytes, pixels: bytes) -> bytes:
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def large() -> Image:
    return np.full((10_000, 10_000, 3), 90, np.uint8)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def spoil_jpeg(path: Path) -> None:
    path.write_bytes(encoded("JPEG"))
    cut(path)


def replace_by_link(path: Path, target: str = "nowhere") -> None:
    path.unlink()
    path.symlink_to(target)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


IMAGES = [
    image_is_read("a grey image", "grey.png", lambda: cv2.imencode(".png", grey())[1].tobytes(), grey),
    image_is_read("16 bits per channel", "deep.png", lambda: of_16_bits(".png", drawing()), drawing),
    image_is_read("one channel of 16 bits", "deep.tif", lambda: of_16_bits(".tif", grey()[..., :1]), grey),
    image_is_read("CMYK", "print.jpg", lambda: encoded("JPEG", mode="CMYK", quality=100), drawing),
    image_is_read("CMYK, TIFF", "print.tif", lambda: encoded("TIFF", mode="CMYK"), drawing),
    image_is_read("transparency", "alpha.png", lambda: encoded("PNG", mode="RGBA"), drawing),
    image_is_read("animated GIF", "moving.gif", lambda: animation("GIF", "L"), grey),
    image_is_read("animated WebP", "moving.webp", lambda: animation("WEBP", lossless=True), drawing),
    image_is_read("animated PNG", "moving.png", lambda: animation("PNG"), drawing),
    image_is_read("several pages", "pages.tif", lambda: animation("TIFF"), drawing),
    image_is_read("an EXIF rotation", "turned.png", rotated, lambda: np.rot90(drawing(), -1)),
    image_is_read("1 x 1 pixel", "dot.png", lambda: encoded("PNG", drawing(1, 1)), lambda: drawing(1, 1)),
    image_is_read(
        "1 x 3000 pixels", "line.png", lambda: encoded("PNG", drawing(1, 3000)), lambda: drawing(1, 3000)
    ),
    image_is_read("100 megapixels", "large.jpg", lambda: cv2.imencode(".jpg", large())[1].tobytes(), large),
]

LEFT_OUT = [
    image_is_left_out("an empty file", "bad.png", lambda path: path.write_bytes(b"")),
    image_is_left_out("not an image", "bad.png", lambda path: path.write_bytes(b"text")),
    image_is_left_out("a truncated PNG", "bad.png", cut, "the same; libpng may print a line of its own"),
    image_is_left_out("a truncated JPEG", "bad.jpg", spoil_jpeg),
    image_is_left_out(
        "60,000 x 60,000 pixels", "bad.png", lambda path: path.write_bytes(declared_size(60_000, 60_000))
    ),
    image_is_left_out("125 KB of 32,000 x 32,000 pixels", "bad.png", lambda path: path.write_bytes(bomb())),
    image_is_left_out("200 GB", "bad.jpg", lambda path: os.truncate(path, 200 * 10**9)),
    image_is_left_out("a link to /dev/zero", "bad.jpg", lambda path: replace_by_link(path, "/dev/zero")),
    image_is_left_out("a pipe that nobody writes to", "bad.png", replace_by_pipe),
    image_is_left_out("a link to nowhere", "bad.png", replace_by_link),
    image_is_left_out("a folder named like an image", "bad.png", replace_by_folder),
    image_is_left_out("a line break in its name", "bad\nimage.png", cut),
]


def other_size(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.add("bad.png", drawing(30, 20))
    scene.poses = annotations("good.png", "bad.png")
    code, said = scene.predict()
    assert scene.sizes() == {0: [40, 30]}
    return Outcome(code, said, "the other image has its mask")


def size_before_the_turn(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.add("turned.png", rotated())
    scene.poses = annotations("good.png", "turned.png")
    code, said = scene.predict()
    assert scene.sizes() == {0: [40, 30]}
    return Outcome(code, said, "the other image has its mask")


def annotations(*names: str) -> dict[str, Any]:
    """Returns COCO annotations of an image of 30 x 40 pixels, with one person, for each name."""
    images = [{"id": i, "file_name": name, "height": 40, "width": 30} for i, name in enumerate(names)]
    people = [{"id": i, "image_id": i, "keypoints": pose()} for i in range(len(names))]
    return {"images": images, "annotations": people}


def annotated(name: str, change: Callable[[dict[str, Any]], object], result: str) -> Fault:
    """Returns a fault with changed COCO annotations of good.png."""

    def happens(folder: Path) -> Outcome:
        scene = Scene(folder)
        scene.add("good.png", drawing())
        scene.poses = annotations("good.png")
        change(scene.poses)
        code, said = scene.predict()
        assert code == 2 or scene.sizes() == {0: [40, 30]}
        return Outcome(code, said, result)

    return Fault(name, happens)


def name_joints(poses: dict[str, Any], *names: str) -> None:
    poses["categories"] = [{"id": 1, "name": "person", "keypoints": names}]
    poses["annotations"][0]["category_id"] = 1


def add_dog(poses: dict[str, Any]) -> None:
    name_joints(poses, *COCO_KEYPOINTS)
    poses["categories"].append({"id": 2, "name": "dog", "keypoints": ["nose", "tail"]})
    dog = {"image_id": 0, "category_id": 2, "keypoints": [9, 9, 2] * 2}
    poses["annotations"].append(dog)


def add_person(poses: dict[str, Any], **changes: Any) -> None:
    poses["annotations"].append({**poses["annotations"][0], "id": 1, **changes})


_MASK = "the mask of the other person"

ANNOTATIONS = [
    annotated(
        "joints spelt `left-eye` and so on",
        lambda poses: name_joints(poses, *(joint.replace("_", "-") for joint in COCO_KEYPOINTS)),
        "the same mask as with `left_eye` and so on",
    ),
    annotated(
        "joints with unknown names",
        lambda poses: name_joints(poses, "nose", *(f"kp{i}" for i in range(16))),
        "nothing is written",
    ),
    annotated("a dog among the people", add_dog, _MASK),
    annotated(
        "a joint without a position: NaN or null",
        lambda poses: poses["annotations"][0]["keypoints"].__setitem__(slice(3), [float("nan"), None, None]),
        "the mask of the other joints",
    ),
    annotated(
        "an invalid visibility",
        lambda poses: add_person(poses, keypoints=[*pose()[:-1], 0.83]),
        _MASK,
    ),
    annotated("an annotation without an image", lambda poses: add_person(poses, image_id=9), _MASK),
    annotated(
        "images listed in a folder that does not exist",
        lambda poses: poses["images"][0].update(file_name="C:\\images\\good.png"),
        "its mask",
    ),
    annotated(
        "poses of other images",
        lambda poses: poses["images"][0].update(file_name="images/other.png"),
        "nothing is written",
    ),
]


def no_image_can_be_read(folder: Path) -> Outcome:
    scene = Scene(folder)
    for name in ("a.png", "b.png"):
        cut(scene.add(name, drawing()))
    code, said = scene.predict()
    assert not scene.output.exists()
    return Outcome(code, said, "nothing is written")


def names(folder: Path) -> Outcome:
    scene = Scene(folder)
    for name in ("with spaces .png", "größe 写真 😀.png", "-minus.png", "new\nline.png", "%s{}.png"):
        scene.add(name, drawing())
    scene.add(os.fsdecode(b"no utf-8 \xff.png"), drawing())
    code, said = scene.predict("--overlays", str(folder / "overlays"))
    assert set(scene.sizes()) == {path.stem for path in scene.images.iterdir()}
    assert {path.name for path in (folder / "overlays").iterdir()} == {p.name for p in scene.images.iterdir()}
    return Outcome(code, said, "masks and overlays of all images")


def crowd(folder: Path) -> Outcome:
    peaks = []
    for people in (16, 2000):
        (folder / str(people)).mkdir()
        scene = Scene(folder / str(people))
        scene.add("crowd.png", drawing(360, 480), people)
        words = scene.arguments("--overlays", str(scene.folder / "overlays"))
        # The smaller of two, because huge pages and arenas of threads vary by tens of MB between runs.
        peaks.append(min(stopped.peak_memory(words, scene.folder / name) for name in ("said", "again")))
    assert peaks[1] - peaks[0] < 150, peaks
    said = scene.shortened((scene.folder / "said").read_text())
    return Outcome(0, said, "less than 150 MB more than for 16 people")


def image_too_wide_for_a_png(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.add("wide.bmp", cv2.imencode(".bmp", drawing(1, 1_040_000))[1].tobytes())
    scene.poses[-1]["keypoints"] = pose_within(1, 1_040_000)
    code, said = scene.predict("--overlays", str(folder / "overlays"))
    assert scene.sizes() == {"good": [40, 30], "wide": [1, 1_040_000]}
    assert [path.name for path in (folder / "overlays").iterdir()] == ["good.png"]
    return Outcome(code, said, "masks of both images; libpng prints lines of its own")


def open_file_as_output(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    log = folder / "log"
    log.write_text("older\n")
    with log.open("a") as file:
        scene.output.symlink_to(f"/dev/fd/{file.fileno()}")
        code, said = scene.predict()
    assert log.read_text().startswith("older\n[\n{")
    return Outcome(code, said, "the masks follow the earlier content")


class _RunsCode:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def weights_with_code(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    marker, weights = folder / "marker", folder / "weights.pkl"
    weights.write_bytes(pickle.dumps({"weight": _RunsCode(f"touch {marker}")}))
    code, said = scene.predict("--weights", str(weights))
    assert not marker.exists()
    pickle.loads(weights.read_bytes())
    assert marker.exists()
    return Outcome(code, said, "the code is not executed")


def path_that_leaves_the_folder(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.poses = annotations("good.png", "../../secret.png")
    for person in scene.poses["annotations"]:
        person["segmentation"] = [[2, 2, 20, 2, 20, 30]]
    _, _, _, poses, *_ = scene.arguments()
    words = ["evaluate", poses, str(scene.images), "--weights", str(folder / "model.safetensors")]
    code, said = scene.command(words)
    return Outcome(code, said, "in `pose2seg evaluate`; `predict` never opens paths from a file of poses")


def other_folder(scene: Scene) -> None:
    folder = scene.folder / "masks.json.unfinished"
    folder.mkdir()
    (folder / "settings.json").write_text("something else")


def private_output(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    report = "--report", str(scene.page)
    for path in (scene.output, scene.page):
        path.write_text("older")
        path.chmod(0o600)
    code, said = scene.predict(*report)
    assert scene.sizes() == {"good": [40, 30]}
    assert [path.stat().st_mode & 0o777 for path in (scene.output, scene.page)] == [0o600] * 2
    return Outcome(code, said, "only its owner can read the new file, and the same holds for a report")


def change_weights(
    scene: Scene, change: Callable[[dict[str, torch.Tensor]], object], **metadata: str
) -> None:
    path = scene.folder / "model.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **metadata}
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path, metadata)


def joints_that_were_guessed(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.predict()
    expected = scene.results()
    scene.poses[0]["keypoints"][-6:] = [4.0, 33.0, 0.02, 0, 0, 0.9]
    code, said = scene.predict()
    guessed = scene.results()
    scene.poses[0]["keypoints"][-6:] = [0.0] * 6
    scene.predict()
    assert guessed == scene.results() != expected
    return Outcome(code, said, "the mask is that of the pose without these joints")


def in_percent(scene: Scene) -> None:
    """Changes the confidences to percent; a joint of one percent has a confidence of 1."""
    pairs = enumerate(scene.poses[0]["keypoints"])
    scene.poses[0]["keypoints"] = [(90 if i > 3 else 1) if i % 3 == 2 else number for i, number in pairs]


def results_twice(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.poses *= 2
    code, said = scene.predict()
    assert scene.sizes() == {"good": [40, 30]}
    assert len(json.loads(scene.output.read_text())) == 1
    return Outcome(code, said, "one mask")


def poses_outside(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.add("bad.png", drawing())
    scene.poses[1]["keypoints"] = [number if i % 3 == 2 else 10 * number for i, number in enumerate(pose())]
    code, said = scene.predict()
    assert scene.sizes() == {"good": [40, 30]}
    return Outcome(code, said, "the other image has its mask")


def flags_without_2(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.poses = annotations("good.png")
    scene.predict()
    expected = scene.results()
    person = scene.poses["annotations"][0]
    person["keypoints"] = [min(number, 1) if i % 3 == 2 else number for i, number in enumerate(pose())]
    code, said = scene.predict()
    assert scene.results() == expected
    return Outcome(code, said, "the mask is that of a file in which all of these are 2")


def yolo_lines(*behind: str) -> Callable[[Scene], None]:
    """Returns a preparation that writes YOLO labels of good.png with these numbers after the joints."""

    def prepare(scene: Scene) -> None:
        (scene.folder / "labels").mkdir()
        joints = " ".join(f"{(j % 4 + 1) / 5} {(j // 4 + 1) / 6} 0.9" for j in range(17))
        write(scene, "labels/good.txt", "\n".join(f"0 .5 .5 .9 .9 {joints} {last}" for last in behind))

    return prepare


def results_of_a_dog(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing(), 2)
    for i, result in enumerate(scene.poses):
        result["category_id"] = 1 + 17 * i
    code, said = scene.predict()
    assert len(json.loads(scene.output.read_text())) == 2
    return Outcome(code, said, "two masks: results do not have the names of categories")


def accents(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add(unicodedata.normalize("NFD", "café.png"), drawing())
    scene.poses[0]["image_id"] = unicodedata.normalize("NFC", "café")
    code, said = scene.predict()
    assert len(json.loads(scene.output.read_text())) == 1
    return Outcome(code, said, "its mask")


def poses_without_images(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    yolo_lines("0.5")(scene)
    write(scene, "labels/photo.txt", "")
    code, said = scene.predict("--poses", str(folder / "labels"))
    assert scene.sizes() == {"good": [40, 30]}
    return Outcome(code, said, "the other image has its mask")


def with_annotations(scene: Scene) -> None:
    scene.poses = annotations("good.png")


def in_parts(scene: Scene) -> None:
    """Changes the positions to 0..1."""
    scene.poses[0]["keypoints"] = [number / (1 if i % 3 == 2 else 40) for i, number in enumerate(pose())]


PEOPLE_AND_FILES = [
    Fault("an image that does not have the size of its poses", other_size),
    Fault("poses with the size of an image before its EXIF rotation", size_before_the_turn),
    Fault("no image can be read", no_image_can_be_read),
    Fault("strange names", names),
    Fault("2,000 people in an image", crowd),
    Fault("an image too wide for a PNG, with `--overlays`", image_too_wide_for_a_png),
    Fault("an output that is open, such as `/dev/stdout` with `>> log`", open_file_as_output),
    Fault("weights that contain code", weights_with_code),
    Fault("an annotation whose path leaves the folder", path_that_leaves_the_folder),
    refused(
        "truncated poses", "--poses", "{}/cut.json", prepare=lambda s: write(s, "cut.json", '[{"image_id": 1')
    ),
    refused(
        "poses that are not finite", prepare=lambda s: s.poses[0]["keypoints"].__setitem__(3, float("inf"))
    ),
    refused("poses relative to the image size, 0..1", prepare=in_parts),
    Fault("poses outside of their image", poses_outside),
    Fault("a joint with a confidence of 0.02, and one at (0, 0)", joints_that_were_guessed),
    refused("confidences in percent", prepare=in_percent),
    Fault("results that are repeated in the file", results_twice),
    Fault("results of several categories", results_of_a_dog),
    Fault("an accent in a name, written in another form by macOS", accents),
    Fault("poses of an image that is not in the folder", poses_without_images),
    Fault("annotations whose labelled joints all have visibility 1", flags_without_2),
    refused(
        "YOLO: a 1 after the joints, which may be a score or a track",
        "--poses",
        "{}/labels",
        prepare=yolo_lines("1"),
    ),
    refused("YOLO: scores and tracks in one folder", "--poses", "{}/labels", prepare=yolo_lines("0.5", "3")),
    refused("--joint-threshold with annotations", "--joint-threshold", "0.5", prepare=with_annotations),
    refused("truncated weights", prepare=lambda s: cut(s.folder / "model.safetensors")),
    refused(
        "weights with a negative variance",
        prepare=partial(change_weights, change=lambda tensors: tensors["backbone.bn1.running_var"].neg_()),
    ),
    refused(
        "weights without templates",
        prepare=partial(
            change_weights, change=lambda tensors: tensors.update(templates=torch.zeros(0, 17, 3))
        ),
    ),
    refused(
        "weights with fewer blocks than their architecture",
        prepare=partial(
            change_weights,
            change=lambda tensors: None,
            architecture='{"backbone_blocks": [4096, 4096, 4096, 4096]}',
        ),
    ),
    Fault("an output that only its owner may read", private_output),
    refused("an output that is an input", "--output", "{}/poses.json"),
    refused("an output that is a folder", "--output", "{}/images"),
    refused("an output that is named like a folder", "--output", "{}/results/"),
    refused("another folder with the name of the journal", prepare=other_folder),
    refused("overlays in the folder of the images", "--overlays", "{}/images"),
    refused("overlays in the folder of the journal", "--overlays", "{}/masks.json.unfinished/overlays"),
    refused("a report in the folder of the journal", "--report", "{}/masks.json.unfinished/page.html"),
    refused("an output in a file", "--output", "{}/model.safetensors/masks.json"),
]


def write(scene: Scene, name: str, content: str) -> None:
    (scene.folder / name).write_text(content)


FAULTS = [*IMAGES, *LEFT_OUT, *ANNOTATIONS, *PEOPLE_AND_FILES, *STOPS, *GONE, *EVALUATIONS]

HEAD = """\
# Faults

This page shows what `pose2seg predict`, or another command if it is named, does when something goes wrong.
`tests/commands/test_faults.py` causes each fault and compares the outcome with this page, which is written by
`python tests/helpers/faults.py`. The prefix `pose2seg: ` of the messages and the times in the summary are
left out. Exit codes: 0 done, 2 an error that you can fix, 3 done, but some images were left out,
130 interrupted.

| fault | exit code | messages | result |
| --- | --- | --- | --- |
"""


def row(fault: Fault, folder: Path) -> str:
    """Causes a fault. Returns its line of the page."""
    outcome = fault.happens(folder)
    said = "<br>".join(f"`{line}`" for line in outcome.said.splitlines())
    return f"| {fault.name} | {outcome.code} | {said} | {outcome.result} |\n"


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for fault in FAULTS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(fault, Path(folder).resolve()))
        print(f"{time.perf_counter() - start:5.1f} s  {fault.name}", file=sys.stderr)
    PAGE.write_text(HEAD + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
