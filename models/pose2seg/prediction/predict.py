"""The work of `pose2seg predict`: from images and poses to a file of COCO results."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pose2seg.common import distributed
from pose2seg.common.choices import MASK_THRESHOLD
from pose2seg.common.errors import InputError
from pose2seg.common.files import (
    atomic_writer,
    make_folder,
    real_path,
    remove_unfinished,
    require_distinct_files,
    require_no_folder,
)
from pose2seg.common.remarks import DatasetWarning
from pose2seg.data.posed_images import PosedImage, try_to_read
from pose2seg.network.model import Pose2Seg
from pose2seg.prediction.journal import ImageId, Journal, Record, journal_folder, open_journal
from pose2seg.prediction.loop import Masks, Unread, predict_masks
from pose2seg.prediction.outputs import CollectedFile, ImageFiles
from pose2seg.prediction.results import (
    count_empty,
    encode_results,
    to_coco_results,
    warn_of_empty_masks,
    write_results,
)
from pose2seg.prediction.settings import settings_of


class Prediction(NamedTuple):
    """The summary of a prediction.

    masks, images: how many masks were written, and of how many images.
    left_out: how many images could not be read.
    done_before: how many of `images` were finished by the run that this one resumed.
    empty: how many of `masks` have no pixel.
    """

    masks: int
    images: int
    left_out: int
    done_before: int
    empty: int = 0


def predict_to_file(
    model: Pose2Seg,
    images: Sequence[PosedImage],
    output: Path,
    *,
    beside: Sequence[ImageFiles | CollectedFile] = (),
    batch_size: int = 4,
    threshold: float = MASK_THRESHOLD,
    inputs: Mapping[str, Path | None] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Prediction:
    """Predicts the masks of all people, and writes them as a COCO results file and in other requested forms.

    The people are in the order of `images` and of their poses. The next batch is read while the network
    processes one; at most two are in memory. `output` and each `CollectedFile` are written atomically at the
    end. Until then the folder `journal_folder(output)` contains the finished results: a prediction that was
    stopped, in whatever way, continues from there with `resume`, and writes the same file as an uninterrupted
    one.

    Under torchrun, in a `distributed.joined` block, the processes share the batches, and return the same.

    beside: other outputs: files of each image, and files about all of them (`pose2seg.prediction.outputs`).
    inputs: the files and folders named "poses", "weights of the pose estimator", "weights" and "templates".
        They are never replaced, and must be unchanged if a run resumes.

    An image is left out with a DatasetWarning if it or its poses cannot be read, or if it does not have the
    size that its poses are for. A file of an image that cannot be written, because it is too large or its
    name is too long, is left out with a DatasetWarning too. A finished image is processed again if its file
    has changed, or if a file that was written for it has been removed.

    Raises InputError if no image can be read; if an output would replace another output, an image or one of
    `inputs`; if there is a stopped prediction and `resume` is False, or the stopped prediction had other
    settings or an image that is not in `images`; if another prediction is writing to `output`; or if an input
    or output is in the folder of the journal. Raises GoneError if an image, its poses, a file of an image or
    a part of the journal is gone; `resume` then continues. Raises OSError if something cannot be written.
    """
    image_files = [each for each in beside if isinstance(each, ImageFiles)]
    collected = [each for each in beside if isinstance(each, CollectedFile)]
    for path in (output, *(each.path for each in collected)):
        require_no_folder(path)
    files = {name: path for name, path in (inputs or {}).items() if path is not None}
    _require_distinct_files(images, output, image_files, collected, files.values())
    others = [*(each.path for each in collected), *(each.folder for each in image_files)]
    _require_outside(journal_folder(output), [*files.values(), *others])
    source = images[0].source if images else None
    joint_threshold = None if source is None else source.joint_threshold
    pose_estimator = None if source is None else source.pose_estimator
    settings = settings_of(
        output,
        beside=beside,
        threshold=threshold,
        joint_threshold=joint_threshold,
        pose_estimator=pose_estimator,
        precision=model.precision,
        flip=model.flip,
        inputs=files,
    )
    readable = [image.image_id for image in images if image.version is not None]
    with open_journal(output, settings, readable, resume) as journal:
        _prepare_folders(image_files, resume)
        work = _Work(model, threshold, batch_size, image_files, collected, progress)
        done = _find_done(work, images, journal)
        problems = _merge(distributed.gather(_predict_share(work, images, done, journal)))
        _tell(images, problems)
        read = [image for image in images if image.image_id not in problems.unread]
        written = (0, 0)
        if distributed.rank() == 0:
            _require_files(image_files, read, problems, journal)
            facts = [f"{name}: {path.absolute().name}" for name, path in files.items()]
            if pose_estimator is not None:
                facts.append(f"pose estimator: {pose_estimator}")
            facts += [f"threshold {threshold}", f"computed in {model.precision}"]
            if model.flip:
                facts.append("averaged with the mirrored images")
            if joint_threshold is not None:
                facts.append(f"joint threshold {joint_threshold}")
            written = _write_files(journal, [image.image_id for image in read], output, collected, facts)
        masks, empty = distributed.gather(written)[0]
    warn_of_empty_masks(empty, masks)
    return Prediction(masks, len(read), len(problems.unread), len(done), empty)


class _Work(NamedTuple):
    """The settings of a prediction, and its other outputs."""

    model: Pose2Seg
    threshold: float
    batch_size: int
    image_files: Sequence[ImageFiles]
    collected: Sequence[CollectedFile]
    progress: bool


class _Problems(NamedTuple):
    """The reasons, in one line each, why images could not be read and why their files could not be written.

    unread: the reasons by image.
    unwritten: the reasons by option and image.
    """

    unread: dict[ImageId, str]
    unwritten: dict[tuple[str, ImageId], str]


def _merge(shares: Iterable[_Problems]) -> _Problems:
    merged = _Problems({}, {})
    for share in shares:
        merged.unread.update(share.unread)
        merged.unwritten.update(share.unwritten)
    return merged


def _prepare_folders(image_files: Sequence[ImageFiles], resume: bool) -> None:
    for each in image_files:
        make_folder(each.folder)
        if resume and distributed.rank() == 0:
            remove_unfinished(each.folder)
    distributed.wait_for_all()


def _find_done(work: _Work, images: Sequence[PosedImage], journal: Journal) -> set[ImageId]:
    """Returns the finished images that are unchanged and whose files still exist."""
    finished = [image for image in images if image.image_id in journal.finished]
    records = journal.records(image.image_id for image in finished)
    done = {
        image.image_id
        for image, record in zip(finished, records, strict=True)
        if _are_details(record.details, work.collected)
        and record.details[0] == image.version
        and all(files.are_there(image, len(record.results)) for files in work.image_files)
    }
    return distributed.gather(done)[0]  # all processes must agree, even if files change meanwhile


def _are_details(details: Any, collected: Sequence[CollectedFile]) -> bool:
    """Returns whether the details of a record have the form that `_record` gives them."""
    if not (isinstance(details, list) and len(details) == 3):
        return False
    _, empty, parts = details
    return (
        isinstance(empty, int)
        and isinstance(parts, dict)
        and parts.keys() == {each.option for each in collected}
        and all(each.is_part(parts[each.option]) for each in collected)
    )


def _predict_share(
    work: _Work, images: Sequence[PosedImage], done: Collection[ImageId], journal: Journal
) -> _Problems:
    """Predicts the masks of this process's share of the images, and appends them to the journal."""
    problems = _Problems({}, {})
    for batch in predict_masks(
        work.model,
        images,
        try_to_read,
        batch_size=work.batch_size,
        title="predict",
        threshold=work.threshold,
        soft=any(files.needs_opacities for files in work.image_files),
        is_done=lambda image: image.image_id in done,
        progress=work.progress,
    ):
        records = []
        for each in batch:
            if isinstance(each, Unread):
                problems.unread[each.item.image_id] = each.problem
                continue
            records.append(_record(each, work.collected))
            for files in work.image_files:
                problem = files.try_to_write(each)
                if problem is not None:
                    without = f"{each.item.path} has masks, but no {files.names[0]}"
                    problems.unwritten[files.option, each.item.image_id] = f"{problem}; {without}"
        if records:
            journal.append(records)
    return problems


def _record(predicted: Masks[PosedImage], collected: Sequence[CollectedFile]) -> Record:
    poses = predicted.content.poses
    parts = {each.option: each.part(predicted) for each in collected}
    results = encode_results(to_coco_results(poses, predicted.masks, predicted.qualities))
    details = [predicted.item.version, count_empty(predicted.masks), parts]
    return Record(predicted.item.image_id, details, results)


def _require_files(
    image_files: Sequence[ImageFiles], read: Sequence[PosedImage], problems: _Problems, journal: Journal
) -> None:
    """Raises GoneError if files that were written for images are gone."""
    if not image_files:
        return
    people = [len(record.results) for record in journal.records(image.image_id for image in read)]
    for files in image_files:
        files.require_there(
            (image, count)
            for image, count in zip(read, people, strict=True)
            if (files.option, image.image_id) not in problems.unwritten
        )


def _tell(images: Sequence[PosedImage], problems: _Problems) -> None:
    """Warns about what is left out, in the order of the images. Raises InputError if all images are."""
    unread = [problems.unread[each.image_id] for each in images if each.image_id in problems.unread]
    if len(unread) == len(images) == 1:
        raise InputError(unread[0])
    if len(unread) == len(images) > 1:
        raise InputError(f"none of the {len(images)} images can be read: {unread[0]}")
    for problem in unread:
        warnings.warn(f"{problem}; it is left out", DatasetWarning, stacklevel=3)
    places = {image.image_id: i for i, image in enumerate(images)}
    for _, problem in sorted(problems.unwritten.items(), key=lambda each: places[each[0][1]]):
        warnings.warn(problem, DatasetWarning, stacklevel=3)


def _write_files(
    journal: Journal,
    images: Sequence[ImageId],
    output: Path,
    collected: Sequence[CollectedFile],
    facts: Sequence[str],
) -> tuple[int, int]:
    """Writes the files that replace the journal. Returns how many masks there are, and how many are empty."""
    for each in collected:
        # A temporary file in the journal is removed after a kill; another folder may be on another file
        # system.
        is_beside = real_path(each.path).parent == journal.folder.parent
        parts = (record.details[2][each.option] for record in journal.records(images))
        each.write(parts, facts, journal.folder if is_beside else None)
    empty = 0

    def results() -> Iterator[bytes]:
        nonlocal empty
        for record in journal.records(images):
            empty += record.details[1]
            yield from record.results

    with atomic_writer(output, journal.folder) as file:
        masks = write_results(file, results())
    journal.remove()
    return masks, empty


def _require_distinct_files(
    images: Sequence[PosedImage],
    output: Path,
    image_files: Sequence[ImageFiles],
    collected: Sequence[CollectedFile],
    inputs: Iterable[Path],
) -> None:
    written = [(output, "the masks"), *((each.path, each.content) for each in collected)]
    for files in image_files:
        name = files.names[0]
        written += [(files.claimed(image), f"the {name} of {image.path}") for image in images]
    videos = {image.video.path for image in images if image.video is not None}
    require_distinct_files([*inputs, *videos, *(image.path for image in images)], written)
    of_images = {real_path(image.path).parent: f"the image {image.path} is" for image in images}
    for i, files in enumerate(image_files):
        others = [other for other in image_files[:i] if files.needs_own_folder or other.needs_own_folder]
        taken = {real_path(other.folder): f"the {other.names[1]} are" for other in others}
        if files.needs_own_folder:
            taken.update(of_images)
        if real_path(files.folder) in taken:
            what = taken[real_path(files.folder)]
            raise InputError(
                f"{files.folder}: {what} there, but the {files.names[1]} need a folder of their own"
            )


def _require_outside(folder: Path, paths: Iterable[Path | None]) -> None:
    """Raises InputError if a path is in the folder of the journal, which is removed at the end."""
    for path in paths:
        if path is not None and real_path(path).is_relative_to(folder):
            raise InputError(f"{path}: must not be in {folder}, which is for unfinished results")
