"""The files of an evaluation."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose2seg.annotated_masks import decode
from pose2seg.evaluate import Evaluation, ImageEvaluation
from pose2seg.files import atomic_writer, write_png
from pose2seg.predict import to_coco_results
from pose2seg.visualize import Image, draw_comparison

_COLUMNS = ("image_id", "path", "people", "predictions", "f1", "mean_iou", "lowest_iou")


def report_files(folder: Path, worst: int) -> list[tuple[Path, str]]:
    """The files that `write_report` may write, and what each holds."""
    pictures = [(_picture(folder, place), "a picture") for place in range(1, worst + 1)]
    return [
        (folder / "masks.json", "the masks"),
        (folder / "images.csv", "the table"),
        (folder / "scores.json", "the scores"),
        *pictures,
    ]


def write_report(evaluation: Evaluation, folder: Path, *, worst: int) -> None:
    """Write an evaluation into a folder, in place of an earlier one:

    masks.json: COCO results, as `pose2seg predict` writes them.
    images.csv: a row for each image, the worst first (`Evaluation.worst_first`).
    worst/001.png ...: pictures of the first rows, with the outlines of annotated and predicted masks.
    scores.json: the scores, null for those that are not defined. It is written last.

    Every file appears whole or not at all. Raises OSError for what cannot be written, and InputError for a
    photograph that can no longer be read.
    """
    rows = evaluation.worst_first()
    results = [result for row in evaluation.images for result in to_coco_results(row.poses, row.masks)]
    _write_json(folder / "masks.json", results)
    _write_table(folder / "images.csv", rows)
    for place, row in enumerate(rows[:worst], start=1):
        write_png(_picture(folder, place), _draw(row))
    _remove_pictures_from(min(worst, len(rows)) + 1, folder)
    scores = {name: None if math.isnan(score) else score for name, score in evaluation.scores.items()}
    counts = {
        "images": len(rows),
        "people": sum(len(row.image.people) for row in rows),
        "predictions": sum(len(row.masks) for row in rows),
    }
    _write_json(folder / "scores.json", {**scores, **counts})


def _picture(folder: Path, place: int) -> Path:
    return folder / "worst" / f"{place:03}.png"


def _remove_pictures_from(place: int, folder: Path) -> None:
    """Those that an earlier evaluation has left."""
    while (picture := _picture(folder, place)).exists():
        picture.unlink()
        place += 1


def _draw(row: ImageEvaluation) -> Image:
    iou = f", mean IoU {row.mean_iou:.3f}" if row.ious else ""
    return draw_comparison(
        row.image.read(),
        row.image.masks.view(np.bool_),
        decode(row.masks, row.image.size).view(np.bool_),
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
