"""What goes wrong around a prediction; each fault is brought about, and what happens is told.

`python tests/faults.py` writes docs/faults.md.
"""

import io
import os
import pickle
import struct
import sys
import tempfile
import time
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
from PIL import Image as Pillow

from pose2seg_ops import COCO_KEYPOINTS

PAGE = Path(__file__).parents[1] / "docs/faults.md"


def encoded(form: str, image: Image | None = None, mode: str = "RGB", **options: object) -> bytes:
    """An image (H, W, 3) BGR, written by Pillow."""
    file = io.BytesIO()
    picture = Pillow.fromarray((drawing() if image is None else image)[:, :, ::-1].copy())
    picture.convert(mode).save(file, form, **options)
    return file.getvalue()


def animation(form: str, mode: str = "RGB", **options: object) -> bytes:
    first = grey() if mode == "L" else drawing()
    others = [Pillow.new(mode, (30, 40))]
    return encoded(form, first, mode, save_all=True, append_images=others, duration=99, **options)


def grey() -> Image:
    return np.repeat(drawing()[:, :, :1], 3, axis=2)


def rotated() -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    return encoded("PNG", exif=exif)


def of_16_bits(form: str, image: Image) -> bytes:
    return cv2.imencode(form, image.astype(np.uint16) * 257)[1].tobytes()


def bomb() -> bytes:
    """A PNG of 125 KB that decodes to 3 GB."""
    side = 32_000
    header, rows = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), bytes(side * (1 + side // 8))
    return png(header, zlib.compress(rows))


def declared_size(width: int, height: int) -> bytes:
    """A PNG that is said to be of this size, and holds nothing."""
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
    image_is_read("16 bits a channel", "deep.png", lambda: of_16_bits(".png", drawing()), drawing),
    image_is_read("one channel of 16 bits", "deep.tif", lambda: of_16_bits(".tif", grey()[..., :1]), grey),
    image_is_read("CMYK", "print.jpg", lambda: encoded("JPEG", mode="CMYK", quality=100), drawing),
    image_is_read("CMYK, TIFF", "print.tif", lambda: encoded("TIFF", mode="CMYK"), drawing),
    image_is_read("with transparency", "alpha.png", lambda: encoded("PNG", mode="RGBA"), drawing),
    image_is_read("animated GIF", "moving.gif", lambda: animation("GIF", "L"), grey),
    image_is_read("animated WebP", "moving.webp", lambda: animation("WEBP", lossless=True), drawing),
    image_is_read("animated PNG", "moving.png", lambda: animation("PNG"), drawing),
    image_is_read("several pages", "pages.tif", lambda: animation("TIFF"), drawing),
    image_is_read("turned by EXIF", "turned.png", rotated, lambda: np.rot90(drawing(), -1)),
    image_is_read("1 x 1 pixel", "dot.png", lambda: encoded("PNG", drawing(1, 1)), lambda: drawing(1, 1)),
    image_is_read(
        "1 x 3000 pixels", "line.png", lambda: encoded("PNG", drawing(1, 3000)), lambda: drawing(1, 3000)
    ),
    image_is_read("100 megapixels", "large.jpg", lambda: cv2.imencode(".jpg", large())[1].tobytes(), large),
]

LEFT_OUT = [
    image_is_left_out("an empty file", "bad.png", lambda path: path.write_bytes(b"")),
    image_is_left_out("not an image", "bad.png", lambda path: path.write_bytes(b"text")),
    image_is_left_out("a PNG cut off", "bad.png", cut, "the same; libpng may add a line of its own"),
    image_is_left_out("a JPEG cut off", "bad.jpg", spoil_jpeg),
    image_is_left_out(
        "60,000 x 60,000 pixels", "bad.png", lambda path: path.write_bytes(declared_size(60_000, 60_000))
    ),
    image_is_left_out("125 KB of 32,000 x 32,000 pixels", "bad.png", lambda path: path.write_bytes(bomb())),
    image_is_left_out("200 GB", "bad.jpg", lambda path: os.truncate(path, 200 * 10**9)),
    image_is_left_out("a link to /dev/zero", "bad.jpg", lambda path: replace_by_link(path, "/dev/zero")),
    image_is_left_out("a pipe that nobody writes to", "bad.png", replace_by_pipe),
    image_is_left_out("a link to nowhere", "bad.png", replace_by_link),
    image_is_left_out("a folder named as an image", "bad.png", replace_by_folder),
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
    """COCO's, of an image of 30 x 40 pixels for each name, with a person each."""
    images = [{"id": i, "file_name": name, "height": 40, "width": 30} for i, name in enumerate(names)]
    people = [{"id": i, "image_id": i, "keypoints": pose()} for i in range(len(names))]
    return {"images": images, "annotations": people}


def annotated(name: str, change: Callable[[dict[str, Any]], object], result: str) -> Fault:
    """COCO's annotations of good.png, with another person than usual or changed otherwise."""

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
        "the same mask as of `left_eye` and so on",
    ),
    annotated(
        "joints of names that are unknown",
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
        "a visibility that is none",
        lambda poses: add_person(poses, keypoints=[*pose()[:-1], 0.83]),
        _MASK,
    ),
    annotated("an annotation of no image", lambda poses: add_person(poses, image_id=9), _MASK),
    annotated(
        "images named with a folder that is not there",
        lambda poses: poses["images"][0].update(file_name="C:\\photographs\\good.png"),
        "its mask",
    ),
    annotated(
        "poses of other images",
        lambda poses: poses["images"][0].update(file_name="photographs/other.png"),
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
    code, said = scene.predict("--overlays", str(folder / "pictures"))
    assert set(scene.sizes()) == {path.stem for path in scene.images.iterdir()}
    assert {path.name for path in (folder / "pictures").iterdir()} == {p.name for p in scene.images.iterdir()}
    return Outcome(code, said, "masks and pictures of all")


def crowd(folder: Path) -> Outcome:
    peaks = []
    for people in (16, 2000):
        (folder / str(people)).mkdir()
        scene = Scene(folder / str(people))
        scene.add("crowd.png", drawing(360, 480), people)
        words = scene.arguments("--overlays", str(scene.folder / "pictures"))
        # The smaller of two, since huge pages and arenas of threads differ by tens of MB from run to run.
        peaks.append(min(stopped.peak_memory(words, scene.folder / name) for name in ("said", "again")))
    assert peaks[1] - peaks[0] < 150, peaks
    said = scene.shortened((scene.folder / "said").read_text())
    return Outcome(0, said, "less than 150 MB more than for 16 people")


def picture_that_no_png_can_be(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.add("wide.bmp", cv2.imencode(".bmp", drawing(1, 1_040_000))[1].tobytes())
    scene.poses[-1]["keypoints"] = pose_within(1, 1_040_000)
    code, said = scene.predict("--overlays", str(folder / "pictures"))
    assert scene.sizes() == {"good": [40, 30], "wide": [1, 1_040_000]}
    assert [path.name for path in (folder / "pictures").iterdir()] == ["good.png"]
    return Outcome(code, said, "masks of both; libpng adds lines of its own")


def open_file_as_output(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    log = folder / "log"
    log.write_text("older\n")
    with log.open("a") as file:
        scene.output.symlink_to(f"/dev/fd/{file.fileno()}")
        code, said = scene.predict()
    assert log.read_text().startswith("older\n[\n{")
    return Outcome(code, said, "the masks are after what was there")


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
    return Outcome(code, said, "the code is not run")


def path_that_leaves_the_folder(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.poses = annotations("good.png", "../../secret.png")
    for person in scene.poses["annotations"]:
        person["segmentation"] = [[2, 2, 20, 2, 20, 30]]
    _, _, _, poses, *_ = scene.arguments()
    words = ["evaluate", poses, str(scene.images), "--weights", str(folder / "model.safetensors")]
    code, said = scene.command(words)
    return Outcome(code, said, "`pose2seg evaluate`; `predict` opens no path of a file of poses")


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
    return Outcome(code, said, "it can still be read by its owner only, as can a report")


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


def poses_outside(folder: Path) -> Outcome:
    scene = Scene(folder)
    scene.add("good.png", drawing())
    scene.add("bad.png", drawing())
    scene.poses[1]["keypoints"] = [10 * number for number in pose()]
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
    return Outcome(code, said, "the mask is that of a file in which all of them are 2")


def yolo_lines(*behind: str) -> Callable[[Scene], None]:
    """A folder `labels` of YOLO's files for good.png, where these numbers stand behind the joints."""

    def prepare(scene: Scene) -> None:
        (scene.folder / "labels").mkdir()
        joints = " ".join(f"{(j % 4 + 1) / 5} {(j // 4 + 1) / 6} 0.9" for j in range(17))
        write(scene, "labels/good.txt", "\n".join(f"0 .5 .5 .9 .9 {joints} {last}" for last in behind))

    return prepare


def with_annotations(scene: Scene) -> None:
    scene.poses = annotations("good.png")


def in_parts(scene: Scene) -> None:
    """Positions in 0..1."""
    scene.poses[0]["keypoints"] = [number / (1 if i % 3 == 2 else 40) for i, number in enumerate(pose())]


PEOPLE_AND_FILES = [
    Fault("an image of another size than its poses", other_size),
    Fault("poses with the size before EXIF turns it", size_before_the_turn),
    Fault("no image can be read", no_image_can_be_read),
    Fault("strange names", names),
    Fault("2,000 people on an image", crowd),
    Fault("a photograph too wide for a PNG, with `--overlays`", picture_that_no_png_can_be),
    Fault("an output that is open, as `/dev/stdout` after `>> log`", open_file_as_output),
    Fault("weights that run code", weights_with_code),
    Fault("an annotation whose path leaves the folder", path_that_leaves_the_folder),
    refused(
        "poses cut off", "--poses", "{}/cut.json", prepare=lambda s: write(s, "cut.json", '[{"image_id": 1')
    ),
    refused(
        "poses that are not finite", prepare=lambda s: s.poses[0]["keypoints"].__setitem__(3, float("inf"))
    ),
    refused("poses in parts of the image, 0..1", prepare=in_parts),
    Fault("poses outside of their image, as of another one", poses_outside),
    Fault("joints with a confidence of 0.02, and at (0, 0) with one of 0.9", joints_that_were_guessed),
    Fault("annotations whose labelled joints all have visibility 1", flags_without_2),
    refused("YOLO: a 1 behind the joints, score or track", "--poses", "{}/labels", prepare=yolo_lines("1")),
    refused("YOLO: scores and tracks in one folder", "--poses", "{}/labels", prepare=yolo_lines("0.5", "3")),
    refused("--joint-threshold with annotations", "--joint-threshold", "0.5", prepare=with_annotations),
    refused("weights cut off", prepare=lambda s: cut(s.folder / "model.safetensors")),
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
        "weights that tell of more blocks than they hold",
        prepare=partial(
            change_weights,
            change=lambda tensors: None,
            architecture='{"backbone_blocks": [4096, 4096, 4096, 4096]}',
        ),
    ),
    Fault("an output that only its owner may read", private_output),
    refused("an output that is an input", "--output", "{}/poses.json"),
    refused("an output that is a folder", "--output", "{}/images"),
    refused("an output that is named as a folder", "--output", "{}/results/"),
    refused("a folder of something else where the journal belongs", prepare=other_folder),
    refused("pictures among the photographs", "--overlays", "{}/images"),
    refused("pictures in the folder of the journal", "--overlays", "{}/masks.json.unfinished/pictures"),
    refused("a report in the folder of the journal", "--report", "{}/masks.json.unfinished/page.html"),
    refused("an output in a file", "--output", "{}/model.safetensors/masks.json"),
]


def write(scene: Scene, name: str, content: str) -> None:
    (scene.folder / name).write_text(content)


FAULTS = [*IMAGES, *LEFT_OUT, *ANNOTATIONS, *PEOPLE_AND_FILES, *STOPS, *GONE]

HEAD = """\
# Faults

What `pose2seg predict` does when something goes wrong. `tests/test_faults.py` brings each fault about and
holds this page against what happens; `python tests/faults.py` writes it. The lines really begin with
`pose2seg: `, and the times in the summary are left out here. Exit codes: 0 done, 2 an error that you can fix,
3 done, but some images were left out, 130 interrupted.

| fault | exit code | what is said | and |
| --- | --- | --- | --- |
"""


def row(fault: Fault, folder: Path) -> str:
    """A line of the page."""
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
