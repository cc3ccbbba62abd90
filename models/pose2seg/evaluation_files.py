"""The files of an evaluation."""

import csv
import io
import json
import math
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pose2seg.annotated_masks import DecodedMasks
from pose2seg.dataset import DatasetWarning
from pose2seg.errors import InputError, in_one_line
from pose2seg.evaluate import Evaluation, ImageEvaluation
from pose2seg.files import (
    atomic_writer,
    make_folder,
    replacing_together,
    require_no_folder,
    shown,
    write_png,
)
from pose2seg.predict import to_coco_results
from pose2seg.visualize import Image, draw_comparison

_COLUMNS = ("image_id", "path", "people", "predictions", "f1", "mean_iou", "lowest_iou")


def report_files(folder: Path, worst: int) -> list[tuple[Path, str]]:
    """The files that `write_report` may write, and what each holds."""
    pictures = [(_picture(folder, place), "a picture") for place in range(1, worst + 1)]
    return [
        (folder / "scores.json", "the scores"),
        (folder / "images.csv", "the table"),
        (folder / "masks.json", "the masks"),
        *pictures,
    ]


def require_writable(folder: Path, worst: int) -> None:
    """Make the folder of a report. Raises InputError if a file or a folder is in the way of another."""
    make_folder(folder)
    make_folder(_pictures(folder))
    for path, _ in report_files(folder, worst):
        require_no_folder(path)


def write_report(evaluation: Evaluation, folder: Path, *, worst: int) -> None:
    """Write an evaluation into a folder, in place of an earlier one, which stays whole until all is written:

    scores.json: the scores, null for those that are not defined.
    images.csv: a row for each image, the worst first (`Evaluation.worst_first`).
    masks.json: COCO results, as `pose2seg predict` writes them.
    worst/001.png ...: pictures of the first rows, with the outlines of annotated and predicted masks. One is
        left out with a DatasetWarning if its photograph can no longer be read.

    Raises OSError for what cannot be written; all of the earlier evaluation is then still there.
    """
    rows = evaluation.worst_first()
    scores = {name: None if math.isnan(score) else score for name, score in evaluation.scores.items()}
    counts = {
        "images": len(rows),
        "people": sum(len(row.image.people) for row in rows),
        "predictions": sum(len(row.masks) for row in rows),
    }
    results = [result for row in evaluation.images for result in to_coco_results(row.poses, row.masks)]
    pictures = set()
    with replacing_together(folder) as new:
        _write_json(new / "scores.json", {**scores, **counts})
        _write_table(new / "images.csv", rows)
        _write_json(new / "masks.json", results)
        for place, row in enumerate(rows[:worst], start=1):
            try:
                photograph = row.image.read()
            except (InputError, OSError) as error:
                problem = f"{in_one_line(error)}; there is no picture of image {shown(row.image.image_id)}"
                warnings.warn(problem, DatasetWarning, stacklevel=2)
            else:
                write_png(_picture(new, place), _draw(row, photograph))
                pictures.add(_picture(folder, place))
    _remove_pictures(folder, but=pictures)


def _pictures(folder: Path) -> Path:
    return folder / "worst"


def _picture(folder: Path, place: int) -> Path:
    return _pictures(folder) / f"{place:03}.png"


def _remove_pictures(folder: Path, but: Collection[Path]) -> None:
    """Those that an earlier evaluation has left."""
    for path in _pictures(folder).glob("*.png"):
        is_ours = path.stem.isdecimal() and path == _picture(folder, int(path.stem))
        if is_ours and path not in but:
            path.unlink()


def _draw(row: ImageEvaluation, photograph: Image) -> Image:
    iou = f", mean IoU {row.mean_iou:.3f}" if row.ious else ""
    return draw_comparison(
        photograph,
        DecodedMasks([person.segmentation for person in row.image.people]),
        DecodedMasks(row.masks),
        f"image {row.image.image_id}: F1 {row.f1:.3f}{iou}",
    )


def _write_table(path: Path, rows: Sequence[ImageEvaluation]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        scores = [row.f1, row.mean_iou, min(row.ious, default=math.nan)]
        writer.writerow(
            [row.image.image_id, row.image.path, len(row.image.people), len(row.masks)]
            + ["" if math.isnan(score) else f"{score:.4f}" for score in scores]
        )
    with atomic_writer(path) as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))


def _write_json(path: Path, content: Any) -> None:
    with atomic_writer(path) as file:
        file.write(json.dumps(content).encode() + b"\n")
