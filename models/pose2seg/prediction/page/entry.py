"""The markup of one image on the page."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from pose2seg.common.text import counted
from pose2seg.data.poses import Person
from pose2seg.prediction.drawing import Image, colour_numbers, person_colour
from pose2seg.prediction.page.drawing import mask_path, skeleton_shapes
from pose2seg_ops import RLE

_LONGER_SIDE = 1280  # pixels of an image on the page, at most
_JPEG_QUALITY = 85
_ENTRY, _PERSON = (
    Template(Path(__file__).with_name(name).read_text("utf-8")) for name in ("entry.html", "person.html")
)
_EVERYBODY = '<button type="button" class="everybody" aria-label="Hide all in {}">Hide all</button>'


class Entry(NamedTuple):
    """An image on the page: its markup, number of people, and seconds by stage, which are JSON values."""

    html: str
    people: int
    seconds: dict[str, float]


def make_entry(
    path: Path,
    image: Image,
    people: Sequence[Person],
    masks: Sequence[RLE],
    qualities: Sequence[float],
    seconds: Mapping[str, float],
) -> Entry:
    """Returns the entry of an image for `Page.add`.

    path: the path of the image, whose name is shown.
    image: (H, W, 3) uint8 BGR, as the model saw it.
    people, masks, qualities: the people, their masks and the estimated IoUs of these, in the same order; the
        masks have the image's size.
    seconds: the time of each stage, by its name, as the mean over the image's batch; may be empty.
    """
    shown = _shrink(image)
    height, width = shown.shape[:2]
    colours = ["#{2:02x}{1:02x}{0:02x}".format(*person_colour(i)) for i in colour_numbers(people)]
    groups = [f'data-person="{i}" style="--colour: {colour}"' for i, colour in enumerate(colours)]
    scale = np.divide((width, height), image.shape[1::-1]).astype(np.float32)
    paths = [mask_path(mask, scale) for mask in masks]
    skeletons = [skeleton_shapes(person.keypoints, scale, (height, width)) for person in people]
    size = f"{image.shape[1]} \N{MULTIPLICATION SIGN} {image.shape[0]}"
    name = escape(path.name)
    html = _ENTRY.substitute(
        name=name,
        figures=figures([size, *(f"{time} (mean of its batch)" for time in times(seconds))]),
        width=width,
        height=height,
        source=_data_uri(shown),
        masks="".join(f'<path {group} d="{d}"/>' for group, d in zip(groups, paths, strict=True)),
        skeletons="".join(f"<g {group}>{pose}</g>" for group, pose in zip(groups, skeletons, strict=True)),
        count=counted(len(people), "person", "people"),
        everybody=_EVERYBODY.format(name) if len(people) > 1 else "",
        people=_rows(people, masks, qualities, colours),
    )
    return Entry(html, len(people), dict(seconds))


def figures(facts: Iterable[str]) -> str:
    """Returns the markup of one line of facts."""
    return " \N{MIDDLE DOT} ".join(map(escape, facts))


def times(seconds: Mapping[str, float]) -> list[str]:
    """Returns a fact for each stage: its time."""
    return [f"{stage} {_duration(time)}" for stage, time in seconds.items()]


def _duration(seconds: float) -> str:
    number, unit = (f"{seconds:,.1f}", "s") if seconds >= 1 else (f"{1000 * seconds:.0f}", "ms")
    return f"{number}\N{NO-BREAK SPACE}{unit}"


def _shrink(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = _LONGER_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _data_uri(image: Image) -> str:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _rows(
    people: Sequence[Person], masks: Sequence[RLE], qualities: Sequence[float], colours: Sequence[str]
) -> str:
    return "".join(
        _PERSON.substitute(
            person=i,
            number=i + 1,
            colour=colour,
            score=f"{person.score:.2f}",
            quality=f"{quality:.2f}",
            area=counted(int(coco_mask.area(mask)), "pixel", "pixels"),
        )
        for i, (person, mask, quality, colour) in enumerate(
            zip(people, masks, qualities, colours, strict=True)
        )
    )
