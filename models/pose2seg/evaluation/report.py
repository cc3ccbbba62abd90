"""The files of an evaluation."""

import csv
import io
import json
import math
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pose2seg.common.errors import InputError, in_one_line
from pose2seg.common.files import atomic_writer, make_folder, replacing_together, require_no_folder
from pose2seg.common.images import write_png
from pose2seg.common.text import shown
from pose2seg.data.annotated_masks import DecodedMasks
from pose2seg.data.dataset import DatasetWarning
from pose2seg.evaluation.evaluate import Evaluation, ImageEvaluation
from pose2seg.prediction.drawing import Image, draw_comparison
from pose2seg.prediction.results import to_coco_results

_COLUMNS = ("image_id", "path", "people", "predictions", "f1", "mean_iou", "lowest_iou")


def report_files(folder: Path, worst: int) -> list[tuple[Path, str]]:
    """Returns the files that `write_report` may write, with their contents for messages."""
    overlays = [(_overlay(folder, place), "an overlay") for place in range(1, worst + 1)]
    return [
        (folder / "scores.json", "the scores"),
        (folder / "images.csv", "the table"),
        (folder / "masks.json", "the masks"),
        *overlays,
    ]


def require_writable(folder: Path, worst: int) -> None:
    """Creates the folder of a report. Raises InputError if a file has the name of a folder, or vice versa."""
    make_folder(folder)
    make_folder(_overlays(folder))
    for path, _ in report_files(folder, worst):
        require_no_folder(path)


def write_report(evaluation: Evaluation, folder: Path, *, worst: int) -> None:
    """Writes an evaluation to a folder, in place of an earlier one:

    scores.json: the scores, null if they are not defined, and what they rank masks by. images.csv: a row for
    each image, the worst first (`Evaluation.worst_first`). masks.json: COCO results, as `pose2seg predict`
    writes them. worst/001.png ...: overlays of the first rows, with the outlines of annotated and predicted
    masks. An overlay is left out with a DatasetWarning if its image can no longer be read.

    Raises OSError if a file cannot be written; the earlier evaluation then remains complete.
    """
    rows = evaluation.worst_first()
    scores = {name: None if math.isnan(score) else score for name, score in evaluation.scores.items()}
    about = {
        "rank_by": evaluation.rank_by,
        "images": len(rows),
        "people": sum(len(row.image.people) for row in rows),
        "predictions": sum(len(row.masks) for row in rows),
    }
    results = [
        result for row in evaluation.images for result in to_coco_results(row.poses, row.masks, row.qualities)
    ]
    overlays = set()
    with replacing_together(folder) as new:
        _write_json(new / "scores.json", {**scores, **about})
        _write_table(new / "images.csv", rows)
        _write_json(new / "masks.json", results)
        for place, row in enumerate(rows[:worst], start=1):
            try:
                image = row.image.read()
            except (InputError, OSError) as error:
                problem = f"{in_one_line(error)}; there is no overlay of image {shown(row.image.image_id)}"
                warnings.warn(problem, DatasetWarning, stacklevel=2)
            else:
                write_png(_overlay(new, place), _draw(row, image))
                overlays.add(_overlay(folder, place))
    _remove_overlays(folder, but=overlays)


def _overlays(folder: Path) -> Path:
    return folder / "worst"


def _overlay(folder: Path, place: int) -> Path:
    return _overlays(folder) / f"{place:03}.png"


def _remove_overlays(folder: Path, but: Collection[Path]) -> None:
    """Removes the overlays of an earlier evaluation."""
    for path in _overlays(folder).glob("*.png"):
        is_ours = path.stem.isdecimal() and path == _overlay(folder, int(path.stem))
        if is_ours and path not in but:
            path.unlink()


def _draw(row: ImageEvaluation, image: Image) -> Image:
    iou = f", mean IoU {row.mean_iou:.3f}" if row.ious else ""
    return draw_comparison(
        image,
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
