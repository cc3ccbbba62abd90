"""The work of `pose2seg predict`: photographs and poses in, COCO results out."""

import errno
import json
import os
import time
import warnings
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tqdm import tqdm

from pose2seg import distributed
from pose2seg.annotated_masks import DecodedMasks
from pose2seg.counts import counted
from pose2seg.dataset import DatasetWarning
from pose2seg.errors import InputError, in_one_line
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
from pose2seg.gone import GoneError, Version
from pose2seg.journal import ImageId, Journal, journal_folder, open_journal
from pose2seg.model import Pose2Seg
from pose2seg.page import Entry, make_entry, page_writer
from pose2seg.photographs import Content, Photograph, read_ahead
from pose2seg.poses import ImagePoses, pose_files
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
    network works on one; no more than two are in memory. `output` appears whole, when all is done, and so
    does `report`, a page to look at (`pose2seg.page`). Until then a folder beside it,
    `journal_folder(output)`, holds what is: a prediction that was stopped, in whatever way, goes on from
    there with `resume`, and gives the file that it would have given.

    Under torchrun, in a `distributed.joined` block, the processes share the batches, and all return the same.

    inputs: what the masks are made with, by names for messages. Files, and the files in folders, are never
        replaced, and have to be the same to resume; of the files in a folder, those that may hold poses.

    An image is left out with a DatasetWarning if it or its poses cannot be read, or if it is not of the size
    that its poses are for. A picture that cannot be written, as it is too large or its name too long, is left
    out with one too. An image that was done before is done again if its file is another one, or its picture
    is not there.

    Raises InputError if no image can be read; if `output`, `report` or a picture would replace another of
    them, a photograph or one of `inputs`; if a prediction was stopped and `resume` is not given, or it had
    other settings, or an image that is not among `photographs`; if another one is writing to `output`; if
    something that is to stay is in the folder of the journal.
    Raises GoneError if a photograph, its poses, a picture or a part of the journal was there and is not any
    more; `resume` then goes on. Raises OSError for what cannot be written.
    """
    for path in filter(None, (output, report)):
        require_no_folder(path)
    files = {name: path for name, path in (inputs or {}).items() if path is not None}
    _require_distinct_files(photographs, output, overlays, report, files.values())
    _require_outside(journal_folder(output), [*files.values(), report, overlays])
    joint_threshold = next((photograph.source.joint_threshold for photograph in photographs), None)
    settings = _settings(output, overlays, report, threshold, files)
    settings["joint threshold"] = joint_threshold
    there = [photograph.image_id for photograph in photographs if photograph.version is not None]
    with open_journal(output, settings, there, resume) as journal:
        if overlays is not None:
            make_folder(overlays)
            if resume and distributed.rank() == 0:
                remove_unfinished(overlays)
            distributed.wait_for_all()
        work = _Work(model, threshold, overlays, report is not None)
        done = _find_done(work, photographs, journal)
        shares = distributed.gather(_predict_share(work, photographs, done, journal, batch_size))
        unread = _merge(share.unread for share in shares)
        unpictured = _merge(share.unpictured for share in shares)
        images = [photograph.image_id for photograph in photographs if photograph.image_id not in unread]
        _tell(photographs, unread, unpictured)
        masks = 0
        if distributed.rank() == 0:
            if overlays is not None:
                _require_pictures(overlays, photographs, unread.keys() | unpictured.keys())
            facts = [f"{name}: {path.absolute().name}" for name, path in files.items()]
            facts.append(f"threshold {threshold}")
            if joint_threshold is not None:
                facts.append(f"joint threshold {joint_threshold}")
            masks = _write_results(journal, images, output, report, facts)
        masks = distributed.gather(masks)[0]
    return Prediction(masks, len(images), len(unread), len(done))


class _Work(NamedTuple):
    """What is made of photographs."""

    model: Pose2Seg
    threshold: float
    overlays: Path | None
    report: bool


class _Problems(NamedTuple):
    """Of images that cannot be read, and of those whose pictures cannot be written: why, in one line."""

    unread: dict[ImageId, str]
    unpictured: dict[ImageId, str]


def _merge(parts: Iterable[Mapping[ImageId, str]]) -> dict[ImageId, str]:
    return {image: problem for part in parts for image, problem in part.items()}


class _Record(NamedTuple):
    """What the journal keeps of an image; JSON can hold it. version: of the file that it was made from."""

    results: list[dict[str, Any]]
    entry: Entry | None
    version: Version


def _is_record(record: Any, report: bool) -> bool:
    """Whether it has the form of a _Record that came from JSON."""
    if not (isinstance(record, list) and len(record) == len(_Record._fields)):
        return False
    results, entry, _ = record
    entry_types = [type(part) for part in entry] if isinstance(entry, list) else None
    return (
        isinstance(results, list)
        and all(isinstance(result, dict) for result in results)
        and entry_types == ([str, int, dict] if report else None)
    )


def _find_done(work: _Work, photographs: Sequence[Photograph], journal: Journal) -> set[ImageId]:
    """The images that need not be done again: their files are the same, and their pictures are there."""
    finished = [photograph for photograph in photographs if photograph.image_id in journal.finished]
    records = journal.records(photograph.image_id for photograph in finished)
    done = {
        photograph.image_id
        for photograph, record in zip(finished, records, strict=True)
        if _is_record(record, work.report)
        and _Record(*record).version == photograph.version
        and (work.overlays is None or os.path.exists(_overlay_path(photograph, work.overlays)))
    }
    return distributed.gather(done)[0]  # which all agree on, whatever happens to the files meanwhile


def _settings(
    output: Path, overlays: Path | None, report: Path | None, threshold: float, inputs: Mapping[str, Path]
) -> dict[str, Any]:
    """What a prediction has in common with one that it goes on with."""
    # From the output, so that all of it may be moved.
    pictures = None if overlays is None else os.path.relpath(real_path(overlays), real_path(output).parent)
    kept = {name: path for name, path in inputs.items() if path.is_file() or path.is_dir()}  # no pipe
    checksums = {f"a checksum of {name}": _checksum(path) for name, path in kept.items()}
    return {"threshold": threshold, "overlays": pictures, "report": report is not None, **checksums}


def _checksum(path: Path) -> int:
    """Of a file, or of the names and contents of a folder's files that may hold poses."""
    if not path.is_dir():
        return checksum(path)
    files = [(file.name, checksum(file)) for file in pose_files(path) if file.is_file()]
    return zlib.crc32(json.dumps(files).encode())


def _tell(
    photographs: Sequence[Photograph], unread: Mapping[ImageId, str], unpictured: Mapping[ImageId, str]
) -> None:
    """Warn of what is left out, in the photographs' order. Raises InputError if all of them are."""
    in_order = [unread[each.image_id] for each in photographs if each.image_id in unread]
    if len(in_order) == len(photographs) == 1:
        raise InputError(in_order[0])
    if len(in_order) == len(photographs) > 1:
        raise InputError(f"none of the {len(photographs)} images can be read: {in_order[0]}")
    for problem in in_order:
        warnings.warn(f"{problem}; it is left out", DatasetWarning, stacklevel=3)
    for each in photographs:
        if each.image_id in unpictured:
            problem = f"{unpictured[each.image_id]}; {each.path} has masks, but no picture"
            warnings.warn(problem, DatasetWarning, stacklevel=3)


def _require_pictures(
    overlays: Path, photographs: Sequence[Photograph], without: Collection[ImageId]
) -> None:
    """Raise GoneError if somebody has removed pictures meanwhile."""
    pictures = [_overlay_path(each, overlays) for each in photographs if each.image_id not in without]
    lost = [picture for picture in pictures if not picture.exists()]
    if lost:
        raise GoneError(
            f"{overlays}: {counted(len(lost), 'picture', 'pictures')} that had been written, such as "
            f"{lost[0].name}, are not there any more: resume, which makes them again"
        )


def _write_results(
    journal: Journal, images: Sequence[ImageId], output: Path, report: Path | None, facts: Sequence[str]
) -> int:
    """Write the files that take the place of the journal. Returns how many masks they hold."""
    if report is not None:
        # In the journal, what a kill leaves does not stay; a folder elsewhere may be of another file system.
        beside = real_path(report).parent == journal.folder.parent
        with page_writer(report, journal.folder if beside else None, facts) as page:
            for _, entry, _ in journal.records(images):
                page.add(Entry(*entry))
    with atomic_writer(output, journal.folder) as file:
        results = chain.from_iterable(results for results, _, _ in journal.records(images))
        masks = _write_json_list(file, results)
    journal.remove()
    return masks


def _predict_share(
    work: _Work,
    photographs: Sequence[Photograph],
    done: Collection[ImageId],
    journal: Journal,
    batch_size: int,
) -> _Problems:
    """Do what is left for this process.

    However many processes there are, and wherever they were stopped, the batches are the same, so that the
    masks are the same bits.
    """
    problems = _Problems({}, {})
    batches = [photographs[start : start + batch_size] for start in range(0, len(photographs), batch_size)]
    left = [[each for each in batch if each.image_id not in done] for batch in batches]
    mine = [batch for batch in left if batch][distributed.rank() :: distributed.count()]
    hidden = None if distributed.rank() == 0 else True
    total = sum(map(len, mine))
    with (
        tqdm(total=total, desc="predict", unit="image", disable=hidden) as bar,
        closing(read_ahead(mine)) as ready,  # at once, whatever stops it
    ):
        for batch in ready:
            records = _predict_batch(work, batch, problems)
            if records:
                journal.append(records)
            bar.update(len(batch))
    return problems


def _predict_batch(
    work: _Work, batch: Sequence[tuple[Photograph, Content | str]], problems: _Problems
) -> list[tuple[ImageId, _Record]]:
    """The records of those images that can be read; notes the problems of the others."""
    problems.unread.update((each.image_id, content) for each, content in batch if isinstance(content, str))
    readable = [(each, content) for each, content in batch if isinstance(content, Content)]
    if not readable:
        return []
    images, poses = zip(*(content for _, content in readable), strict=True)
    start = time.perf_counter()
    masks = work.model.predict_rle(images, [each.keypoints for each in poses], threshold=work.threshold)
    seconds = {"masks": (time.perf_counter() - start) / len(readable)}
    records = []
    for (photograph, content), of_image in zip(readable, masks, strict=True):
        if work.overlays is not None:
            problem = _write_picture(_overlay_path(photograph, work.overlays), content, of_image)
            if problem is not None:
                problems.unpictured[photograph.image_id] = problem
        entry = None
        if work.report:
            entry = make_entry(photograph.path, content.image, content.poses.people, of_image, seconds)
        results = list(to_coco_results(content.poses, of_image))
        records.append((photograph.image_id, _Record(results, entry, photograph.version)))
    return records


def _write_picture(path: Path, content: Content, masks: Sequence[RLE]) -> str | None:
    """Returns in one line why this picture, and not every one, cannot be written."""
    try:
        write_png(path, draw_overlay(content.image, DecodedMasks(masks), content.poses.keypoints))
    except InputError as error:
        return in_one_line(error)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return in_one_line(error)
    return None


def to_coco_results(poses: ImagePoses, masks: Sequence[RLE]) -> Iterator[dict[str, Any]]:
    """COCO segmentation results of an image; the masks are in the order of its people.

    "score" is the pose's; "annotation_id" and "track_id" are there where the pose has one.
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
        if person.track_id is not None:
            result["track_id"] = person.track_id
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


def _require_outside(folder: Path, paths: Iterable[Path | None]) -> None:
    """Raise InputError for a path in the folder of the journal, of which little stays when all is done."""
    for path in paths:
        if path is not None and real_path(path).is_relative_to(folder):
            raise InputError(f"{path}: must not be in {folder}, which is for what is not finished")


def _write_json_list(file: BinaryIO, entries: Iterable[Any]) -> int:
    """Write a JSON list, an entry a line, without holding it in memory. Returns its length."""
    count = 0
    file.write(b"[")
    for count, entry in enumerate(entries, start=1):
        file.write(b"\n" if count == 1 else b",\n")
        file.write(json.dumps(entry).encode())
    file.write(b"\n]\n")
    return count
