"""Prediction on a cluster: a stage of Ray Data, and its results as one file. It needs the extra `ray`.

The rows of the datasets have these columns:

* "path": the path of the image, or its name if the row holds it.
* "image": the encoded image, bytes; if the column is absent, the image is read from the path.
* "version": the JSON of `version_of(path)` when the image was found, for images that are read from paths.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
import ray
import ray.data
import torch

from pose2seg.common.choices import BUNDLED_WEIGHTS, MASK_THRESHOLD
from pose2seg.common.errors import InputError, in_one_line
from pose2seg.common.files import atomic_writer
from pose2seg.common.gone import GoneError, Version, problem_with
from pose2seg.common.images import decode_image, read_image
from pose2seg.common.remarks import DatasetWarning
from pose2seg.common.text import shown
from pose2seg.data.posed_images import IMAGE_SUFFIXES, Content, PosedImage, find_content
from pose2seg.data.poses import PoseSource
from pose2seg.network.checkpoint import load_model
from pose2seg.network.inference import fastest_precision, for_inference
from pose2seg.network.templates import load_templates
from pose2seg.prediction.loop import Masks, Unread, predict_masks
from pose2seg.prediction.predict import Prediction
from pose2seg.prediction.results import count_empty, to_coco_results, warn_of_empty_masks, write_results


def image_rows(images: Sequence[PosedImage]) -> "ray.data.Dataset":
    """Returns the rows of images that `find_images` found, on a file system that all workers share."""
    rows = [{"path": str(image.path.absolute()), "version": json.dumps(image.version)} for image in images]
    return ray.data.from_items(rows)


def sample_rows(tars: str | list[str]) -> "ray.data.Dataset":
    """Returns the rows of the images in WebDataset tars, which are local files or in an object store.

    Each sample has one image, whose name in the tar is its path; other members are ignored. The dataset
    raises InputError for a sample with several images or with none.
    """
    return ray.data.read_webdataset(tars, decoder=None).map(_sample_row)


def _sample_row(sample: Mapping[str, Any]) -> dict[str, Any]:
    members = [name for name, content in sample.items() if content is not None and name[:2] != "__"]
    images = [name for name in members if f".{name.lower()}" in IMAGE_SUFFIXES]
    key = sample["__key__"]
    if len(images) != 1:
        raise InputError(f"{key}: a sample must have one image, got {shown(', '.join(members))}")
    return {"path": f"{key}.{images[0]}", "image": sample[images[0]]}


class _Row(NamedTuple):
    """An image; `encoded` is None if it is to be read from its path."""

    path: Path
    encoded: bytes | None
    version: Version


class PredictMasks:
    """A stage for `ray.data.Dataset.map_batches`, with a model in each worker; its batch format is "pyarrow".

    poses: the poses of all images, such as those of `open_poses`.
    weights, templates, threshold: as in `pose2seg predict`.
    batch_size: the images for which the network runs at once. The batches of `map_batches` are divided into
        batches of this size, and one is decoded while another is predicted.

    The model runs on the GPU if Ray has assigned one, or a part of one, to the worker (`num_gpus` of
    `map_batches`), and otherwise on the CPU. It computes in the precision of `fastest_precision`, which is
    the default of `pose2seg predict` too.

    The rows of the result have the columns "path"; "results", the COCO results of the image as a list of JSON
    texts; "empty", how many of them have a mask without a pixel; and "problem", in one line why the image is
    left out, or "".
    """

    def __init__(
        self,
        poses: PoseSource,
        weights: Path | str = BUNDLED_WEIGHTS,
        *,
        templates: Path | None = None,
        batch_size: int = 4,
        threshold: float = MASK_THRESHOLD,
    ) -> None:
        device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        model = load_model(weights, None if templates is None else load_templates(templates), device=device)
        self._model = for_inference(model, fastest_precision(device))
        self._poses, self._batch_size, self._threshold = poses, batch_size, threshold

    def __call__(self, rows: pyarrow.Table) -> pyarrow.Table:
        """Predicts the masks of a batch of rows.

        Raises TypeError if the batch has another format, and GoneError if an image that was readable when it
        was found, or its poses, no longer are.
        """
        if not isinstance(rows, pyarrow.Table):
            raise TypeError(f'map_batches must have batch_format="pyarrow", got a {type(rows).__name__}')
        batches = predict_masks(
            self._model,
            [_Row(Path(row["path"]), row.get("image"), _version(row)) for row in rows.to_pylist()],
            self._try_to_read,
            batch_size=self._batch_size,
            title="predict",
            threshold=self._threshold,
            progress=False,
        )
        return pyarrow.Table.from_pylist([_result(each) for batch in batches for each in batch], _SCHEMA)

    def _try_to_read(self, row: _Row) -> Content | str:
        """Reads an image and its poses, or returns in one line why it is left out."""
        if row.encoded is not None and self._poses.image_id(row.path) is None:
            return f"{row.path}: the poses do not list this image"
        try:
            pixels = read_image(row.path) if row.encoded is None else decode_image(row.encoded, row.path)
            return find_content(row.path, pixels, self._poses)
        except GoneError:
            raise
        except (InputError, OSError) as error:
            if row.encoded is not None:
                return in_one_line(error)
            return problem_with(row.path, row.version, error)
        except MemoryError:
            return f"{row.path}: not enough memory to read it"


_SCHEMA = pyarrow.schema(
    [
        ("path", pyarrow.string()),
        ("results", pyarrow.list_(pyarrow.large_string())),
        ("empty", pyarrow.int64()),
        ("problem", pyarrow.string()),
    ]
)


def _version(row: Mapping[str, Any]) -> Version:
    version: Version = json.loads(row["version"]) if row.get("version") is not None else None
    return version


def _result(each: Masks[_Row] | Unread[_Row]) -> dict[str, Any]:
    path = str(each.item.path)
    if isinstance(each, Unread):
        return {"path": path, "results": [], "empty": 0, "problem": each.problem}
    results = map(json.dumps, to_coco_results(each.content.poses, each.masks, each.qualities))
    return {"path": path, "results": list(results), "empty": count_empty(each.masks), "problem": ""}


def merge_results(shards: Path, output: Path, *, images: int | None = None) -> Prediction:
    """Writes the results in a folder of Parquet files as one file of COCO results, atomically.

    The results are in the order of the paths of the images, as in the file that `pose2seg predict` writes for
    a folder; all of them are in memory, about 1 kB for each mask. Images that could not be read are left out
    with a DatasetWarning.

    images: how many images there must be, if this is known.

    Raises InputError if an image is there twice, if there are more or fewer than `images`, or if none could
    be read.
    """
    table = pyarrow.parquet.read_table(shards, schema=_SCHEMA).combine_chunks()
    paths = [Path(path) for path in table["path"].to_pylist()]
    if images is not None and len(paths) != images:
        raise InputError(f"{shards}: must have results of {images:,} images, got {len(paths):,}")
    order = sorted(range(len(paths)), key=paths.__getitem__)
    for before, i in pairwise(order):
        if paths[before] == paths[i]:
            raise InputError(f"{shards}: must have the results of each image once, got {paths[i]} twice")
    problems = [problem for i in order if (problem := table["problem"][i].as_py())]
    if len(problems) == len(paths):
        why = f": {problems[0]}" if problems else ""
        raise InputError(f"{shards}: none of the {len(paths)} images could be read{why}")
    for problem in problems:
        warnings.warn(f"{problem}; it is left out", DatasetWarning, stacklevel=2)
    with atomic_writer(output) as file:
        results = (text.encode() for i in order for text in table["results"][i].as_py())
        masks = write_results(file, results)
    empty = sum(table["empty"].to_pylist())
    warn_of_empty_masks(empty, masks)
    return Prediction(masks, len(paths) - len(problems), len(problems), 0, empty)
