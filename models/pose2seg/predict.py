"""The work of `pose2seg predict`: photographs and poses in, COCO results out."""

import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tqdm import tqdm

from pose2seg import distributed
from pose2seg.annotated_masks import DecodedMasks
from pose2seg.dataset import DatasetWarning
from pose2seg.errors import InputError
from pose2seg.files import (
    atomic_writer,
    checksum,
    make_folder,
    real_path,
    remove_unfinished,
    require_distinct_files,
    require_no_folder,
    write_png,
)
from pose2seg.journal import ImageId, Journal, open_journal
from pose2seg.model import Pose2Seg
from pose2seg.page import Entry, make_entry, page_writer
from pose2seg.photographs import Content, Photograph, read_ahead
from pose2seg.poses import ImagePoses
from pose2seg.visualize import draw_overlay
from pose2seg_ops import RLE

_PERSON = 1  # the COCO category


class Prediction(NamedTuple):
    """What became of photographs.

    masks, images: how many masks were written, and of how many images.
    left_out: images that could not be read.
    done_before: images, among `images`, of the prediction that this one went on with.
    """

    masks: int
    images: int
    left_out: int
    done_before: int


def predict_to_file(
    model: Pose2Seg,
    photographs: Sequence[Photograph],
    output: Path,
    *,
    overlays: Path | None = None,
    report: Path | None = None,
    batch_size: int = 4,
    threshold: float = 0.5,
    inputs: Mapping[str, Path | None] | None = None,
    resume: bool = False,
) -> Prediction:
    """Write everybody's mask as a COCO results file, and a picture of each photograph into `overlays`.

    The people stand in the order of `photographs` and of their poses. The next batch is read while the
    network works on one; no more than three are in memory. `output` appears whole, when all is done, and so
    does `report`, a page to look at (`pose2seg.page`). Until then a folder beside it,
    `journal_folder(output)`, holds what is: a prediction that was stopped, in whatever way, goes on from
    there with `resume`, and gives the file that it would have given.

    Under torchrun, in a `distributed.joined` block, the processes share the batches, and all return the same.

    inputs: what the masks are made with, by names for messages. Files, and the files in folders, are never
        replaced; files have to be the same to resume.

    An image is left out with a DatasetWarning if it or its poses cannot be read, or if it is not of the size
    that its poses are for.

    Raises InputError if all are; if `output`, `report` or a picture would replace another of them, a
    photograph or one of `inputs`; if a prediction was stopped and `resume` is not given, or it had other
    settings; if another one is writing to `output`. Raises OSError for what cannot be written.
    """
    for path in (output, report):
        if path is not None:
            require_no_folder(path)
    files = {name: path for name, path in (inputs or {}).items() if path is not None}
    _require_distinct_files(photographs, output, overlays, report, files.values())
    settings = _settings(output, overlays, report, threshold, files)
    with open_journal(output, settings, resume) as journal:
        if overlays is not None:
            make_folder(overlays)
            if resume and distributed.rank() == 0:
                remove_unfinished(overlays)
            distributed.wait_for_all()
        share = _predict_share(
            model, photographs, journal, overlays, report is not None, batch_size, threshold
        )
        problems = {image: problem for part in distributed.gather(share) for image, problem in part.items()}
        images = [photograph.image_id for photograph in photographs if photograph.image_id not in problems]
        _tell(photographs, problems)
        masks = 0
        if distributed.rank() == 0:
            facts = [f"{name}: {path.absolute().name}" for name, path in files.items()]
            masks = _write_results(journal, images, output, report, [*facts, f"threshold {threshold}"])
        masks = distributed.gather(masks)[0]
    return Prediction(masks, len(images), len(problems), len(journal.finished.intersection(images)))


def _settings(
    output: Path, overlays: Path | None, report: Path | None, threshold: float, inputs: Mapping[str, Path]
) -> dict[str, Any]:
    """What a prediction has in common with one that it goes on with."""
    # From the output, so that all of it may be moved.
    pictures = None if overlays is None else os.path.relpath(real_path(overlays), real_path(output).parent)
    checksums = {f"a checksum of {name}": checksum(path) for name, path in inputs.items() if path.is_file()}
    return {"threshold": threshold, "overlays": pictures, "report": report is not None, **checksums}


def _tell(photographs: Sequence[Photograph], problems: Mapping[ImageId, str]) -> None:
    """Warn of the images that are left out, in their order. Raises InputError if all are."""
    in_order = [problems[each.image_id] for each in photographs if each.image_id in problems]
    if len(in_order) == len(photographs) == 1:
        raise InputError(in_order[0])
    if len(in_order) == len(photographs) > 1:
        raise InputError(f"none of the {len(photographs)} images can be read: {in_order[0]}")
    for problem in in_order:
        warnings.warn(f"{problem}; it is left out", DatasetWarning, stacklevel=3)


def _write_results(
    journal: Journal, images: Sequence[ImageId], output: Path, report: Path | None, facts: Sequence[str]
) -> int:
    """Write the files that take the place of the journal. Returns how many masks they hold."""
    if report is not None:
        # In the journal, what a kill leaves does not stay; a folder elsewhere may be of another file system.
        beside = real_path(report).parent == journal.folder.parent
        with page_writer(report, journal.folder if beside else None, facts) as page:
            for _, entry in journal.records(images):
                page.add(Entry(*entry))
    with atomic_writer(output, journal.folder) as file:
        results = chain.from_iterable(results for results, _ in journal.records(images))
        masks = _write_json_list(file, results)
    journal.remove()
    return masks


def _predict_share(
    model: Pose2Seg,
    photographs: Sequence[Photograph],
    journal: Journal,
    overlays: Path | None,
    report: bool,
    batch_size: int,
    threshold: float,
) -> dict[ImageId, str]:
    """Do what is left for this process. Returns the problems of images that cannot be read.

    However many processes there are, and wherever they were stopped, the batches are the same, so that the
    masks are the same bits.
    """
    problems: dict[ImageId, str] = {}
    batches = [photographs[start : start + batch_size] for start in range(0, len(photographs), batch_size)]
    left = [[each for each in batch if each.image_id not in journal.finished] for batch in batches]
    mine = [batch for batch in left if batch][distributed.rank() :: distributed.count()]
    hidden = None if distributed.rank() == 0 else True
    with tqdm(total=sum(map(len, mine)), desc="predict", unit="image", disable=hidden) as bar:
        for batch in read_ahead(mine):
            problems.update((each.image_id, content) for each, content in batch if isinstance(content, str))
            readable = [(each, content) for each, content in batch if isinstance(content, Content)]
            if readable:
                journal.append(_predict_batch(model, readable, overlays, report, threshold))
            bar.update(len(batch))
    return problems


def _predict_batch(
    model: Pose2Seg,
    batch: Sequence[tuple[Photograph, Content]],
    overlays: Path | None,
    report: bool,
    threshold: float,
) -> Iterator[tuple[ImageId, tuple[list[dict[str, Any]], Entry | None]]]:
    """The record of each image: its results, and its entry of the report."""
    images, poses = zip(*(content for _, content in batch), strict=True)
    start = time.perf_counter()
    masks = model.predict_rle(images, [each.keypoints for each in poses], threshold=threshold)
    seconds = {"masks": (time.perf_counter() - start) / len(batch)}
    for (photograph, content), of_image in zip(batch, masks, strict=True):
        if overlays is not None:
            picture = draw_overlay(content.image, DecodedMasks(of_image), content.poses.keypoints)
            write_png(_overlay_path(photograph, overlays), picture)
        entry = None
        if report:
            entry = make_entry(photograph.path, content.image, content.poses.people, of_image, seconds)
        yield photograph.image_id, (list(to_coco_results(content.poses, of_image)), entry)


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


def _overlay_path(photograph: Photograph, folder: Path) -> Path:
    return folder / f"{photograph.path.stem}.png"


def _require_distinct_files(
    photographs: Sequence[Photograph],
    output: Path,
    overlays: Path | None,
    report: Path | None,
    inputs: Iterable[Path],
) -> None:
    written = [(output, "the masks")]
    if report is not None:
        written.append((report, "the report"))
    if overlays is not None:
        written += [(_overlay_path(p, overlays), f"the picture of {p.path}") for p in photographs]
    require_distinct_files([*inputs, *(photograph.path for photograph in photographs)], written)


def _write_json_list(file: BinaryIO, entries: Iterable[Any]) -> int:
    """Write a JSON list, an entry a line, without holding it in memory. Returns its length."""
    count = 0
    file.write(b"[")
    for count, entry in enumerate(entries, start=1):
        file.write(b"\n" if count == 1 else b",\n")
        file.write(json.dumps(entry).encode())
    file.write(b"\n]\n")
    return count
