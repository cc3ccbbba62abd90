"""The work of `pose2seg predict`: photographs and poses in, COCO results out."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pose2seg.errors import InputError
from pose2seg.files import (
    atomic_writer,
    make_folder,
    read_image,
    real_path,
    require_distinct_files,
    write_png,
)
from pose2seg.model import Pose2Seg
from pose2seg.page import Page, make_entry, page_writer
from pose2seg.poses import ImagePoses, PoseSource
from pose2seg.segmentation import decode
from pose2seg.visualize import draw_overlay
from pose2seg_ops import RLE

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_PERSON = 1  # the COCO category


class Photograph(NamedTuple):
    path: Path
    poses: ImagePoses


def find_photographs(inputs: Sequence[Path], poses: PoseSource) -> tuple[list[Photograph], list[Path]]:
    """The images that `inputs` name, each once whatever its path, with their poses; and those without.

    A folder stands for the images directly in it, in the order of their names; those that `poses` does not
    know are the second list returned. An image named by itself must be in `poses`.

    Raises InputError for an input that does not exist, an unknown image, two files with the same entry in
    `poses`, or if no photograph is left.
    """
    found: dict[int | str, Photograph] = {}
    unknown: dict[Path, Path] = {}
    listed = [(path, given) for given in inputs for path in _images_of(given)]
    for path, given in tqdm(listed, desc="poses", unit="image", disable=None, delay=1):
        image_poses = poses.find(path)
        if image_poses is not None:
            first = found.setdefault(image_poses.image_id, Photograph(path, image_poses))
            if real_path(first.path) != real_path(path):
                raise InputError(
                    f"{first.path} and {path} are both image {image_poses.image_id!r} of the poses"
                )
        elif path == given:
            raise InputError(f"{path}: the poses do not list this image")
        else:
            unknown.setdefault(real_path(path), path)
    if not found and unknown:
        raise InputError(f"none of the {len(unknown)} images found is in the poses")
    if not found:
        raise InputError(f"no images found in {', '.join(map(str, inputs))}")
    return list(found.values()), list(unknown.values())


def _images_of(given: Path) -> list[Path]:
    if not given.exists():
        raise InputError(f"{given}: no such file or folder")
    if not given.is_dir():
        return [given]
    return sorted(path for path in given.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def predict_to_file(
    model: Pose2Seg,
    photographs: Sequence[Photograph],
    output: Path,
    *,
    overlays: Path | None = None,
    report: Path | None = None,
    batch_size: int = 4,
    threshold: float = 0.5,
    keep: Sequence[Path | None] = (),
) -> int:
    """Write everybody's mask as a COCO results file, and a picture of each photograph into `overlays`.

    The people stand in the order of `photographs` and of their poses. One batch of images is held in memory
    at a time. `output` appears whole, when all is done, and so does `report`, a page to look at
    (`pose2seg.page`). Returns the number of masks.

    Raises InputError for an image that cannot be read or is not of the size that its poses are for, and if
    `output`, `report` or a picture would replace another of them, a photograph, or a file in `keep` or in one
    of its folders.
    """
    _require_distinct_files(photographs, output, overlays, report, keep)
    if overlays is not None:
        make_folder(overlays)

    def results(page: Page | None) -> Iterator[dict[str, Any]]:
        segmented = segment_photographs(model, photographs, batch_size, threshold)
        progress = tqdm(segmented, total=len(photographs), unit="image", disable=None)
        for photograph, image, masks, seconds in progress:
            if overlays is not None:
                of_people = decode(masks, image.shape[:2]).view(np.bool_)
                picture = draw_overlay(image, of_people, photograph.poses.keypoints)
                write_png(_overlay_path(photograph, overlays), picture)
            if page is not None:
                page.add(make_entry(photograph.path, image, photograph.poses.people, masks, seconds))
            yield from to_coco_results(photograph.poses, masks)

    with atomic_writer(output) as file, page_writer(report) if report else nullcontext() as page:
        return _write_json_list(file, results(page))


def segment_photographs(
    model: Pose2Seg, photographs: Sequence[Photograph], batch_size: int, threshold: float
) -> Iterator[tuple[Photograph, npt.NDArray[np.uint8], list[RLE], dict[str, float]]]:
    """Each photograph, its image, the masks of its people, and its share of the seconds of each stage.

    `batch_size` images go at once.
    """
    for start in range(0, len(photographs), batch_size):
        batch = photographs[start : start + batch_size]
        began = time.perf_counter()
        images = [read_photograph(photograph) for photograph in batch]
        read = time.perf_counter()
        masks = model.predict_rle(images, [poses.keypoints for _, poses in batch], threshold=threshold)
        done = time.perf_counter()
        seconds = {"reading": (read - began) / len(batch), "masks": (done - read) / len(batch)}
        yield from zip(batch, images, masks, repeat(seconds, len(batch)), strict=True)


def to_coco_results(poses: ImagePoses, masks: Sequence[RLE]) -> Iterator[dict[str, Any]]:
    """COCO segmentation results of an image; the masks are in the order of its people.

    "score" is the pose's; "annotation_id" is there where the pose has one.
    """
    for person, rle in zip(poses.people, masks, strict=True):
        result = {
            "image_id": poses.image_id,
            "category_id": _PERSON,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
            "score": person.score,
        }
        if person.annotation_id is not None:
            result["annotation_id"] = person.annotation_id
        yield result


def read_photograph(photograph: Photograph) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR. Raises InputError if it is not of the size that its poses are for."""
    path, poses = photograph
    image = read_image(path)
    height, width = image.shape[:2]
    if poses.size is not None and poses.size != (height, width):
        expected = f"{poses.size[1]} x {poses.size[0]}"
        raise InputError(f"{path}: is {width} x {height}, but its poses are for {expected}")
    return image


def _overlay_path(photograph: Photograph, folder: Path) -> Path:
    return folder / f"{photograph.path.stem}.png"


def _require_distinct_files(
    photographs: Sequence[Photograph],
    output: Path,
    overlays: Path | None,
    report: Path | None,
    keep: Sequence[Path | None],
) -> None:
    written = [(output, "the masks")]
    if report is not None:
        written.append((report, "the report"))
    if overlays is not None:
        written += [(_overlay_path(p, overlays), f"the picture of {p.path}") for p in photographs]
    require_distinct_files([*keep, *(photograph.path for photograph in photographs)], written)


def _write_json_list(file: BinaryIO, entries: Iterable[Any]) -> int:
    """Write a JSON list, an entry a line, without holding it in memory. Returns its length."""
    count = 0
    file.write(b"[")
    for count, entry in enumerate(entries, start=1):
        file.write(b"\n" if count == 1 else b",\n")
        file.write(json.dumps(entry).encode())
    file.write(b"\n]\n")
    return count
