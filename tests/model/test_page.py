"""Tests of the content of the page; tests/model/test_page_in_browser.py tests its use."""

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from people import draw_dataset
from pose2seg.common.images import read_image
from pose2seg.data.poses import Person
from pose2seg.prediction.drawing import draw_overlay
from pose2seg.prediction.page import Entry, Page, make_entry, page_writer
from pose2seg.prediction.page.drawing import mask_path, skeleton_shapes
from pycocotools import mask as coco_mask

NOBODY = np.zeros((17, 3), np.float32)
FULL_SIZE = np.ones(2, np.float32)


class Elements(HTMLParser):
    """Parses the elements of a page: tags, attributes, and the text directly in each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self._open: list[int] = []
        self.feed(page)
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img"):
            self._open.append(len(self.elements))
        self.elements.append((tag, dict(attrs)))
        self._texts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag, "an element is not closed"

    def handle_data(self, data: str) -> None:
        if self._open:
            self._texts[self._open[-1]] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def texts_of(self, tag: str) -> list[str]:
        texts = zip(self.elements, self._texts, strict=True)
        return [" ".join(text.split()) for (name, _), text in texts if name == tag]


def page_of(
    *entries: tuple[str, npt.NDArray[np.uint8], list[Person], list[npt.NDArray[np.bool_]]],
) -> str:
    file = BytesIO()
    page = Page(file, ["weights: a&b.pkl", "threshold 0.5"])
    for name, image, people, masks in entries:
        encoded = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
        seconds = {"reading": 0.25, "masks": 1.5}
        page.add(make_entry(Path("folder") / name, image, people, encoded, [0.75] * len(masks), seconds))
    page.finish()
    return file.getvalue().decode()


def shape(kind: str) -> npt.NDArray[np.uint8]:
    mask = np.zeros((90, 120), np.uint8)
    if kind == "ring":
        cv2.circle(mask, (60, 45), 40, 1, -1)
        cv2.circle(mask, (60, 45), 20, 0, -1)
        cv2.circle(mask, (60, 45), 8, 1, -1)
    elif kind == "parts":
        mask[5:40, 10:30] = mask[60:88, 50:119] = 1
    elif kind == "line":
        mask[40, 10:110] = mask[10:80, 20] = 1
    elif kind == "pixel":
        mask[7, 100] = 1
    elif kind == "full":
        mask[:] = 1
    elif kind == "noise":
        mask[:] = cv2.GaussianBlur(np.random.default_rng(0).normal(size=mask.shape), (0, 0), 3) > 0
    return mask


def filled(path: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Renders a path with the even-odd rule, and a stroke of one pixel."""
    canvas = np.zeros(size, np.uint8)
    corners = [np.array(part.split(), int).reshape(-1, 1, 2) for part in re.findall(r"M([\d ]+)z", path)]
    if corners:
        cv2.fillPoly(canvas, corners, 1)
        cv2.polylines(canvas, corners, True, 1)
    return canvas


@pytest.mark.parametrize("kind", ["ring", "parts", "line", "pixel", "full", "noise", "empty"])
def test_a_path_is_the_mask_to_within_a_pixel(kind: str) -> None:
    mask, pixel = shape(kind), np.ones((3, 3), np.uint8)
    rle = coco_mask.encode(np.asfortranarray(mask))
    drawn = filled(mask_path(rle, FULL_SIZE), (90, 120))
    assert (drawn <= cv2.dilate(mask, pixel)).all()
    assert (drawn >= cv2.erode(mask, pixel)).all()
    assert drawn.any() == mask.any()


def test_a_person_has_the_colour_of_the_overlays() -> None:
    image = np.zeros((40, 4000, 3), np.uint8)
    masks = np.zeros((10, 40, 4000), bool)
    for i in range(10):
        masks[i, :, 400 * i + 50 : 400 * i + 350] = True
    poses = np.repeat(NOBODY[None], 10, axis=0)
    overlay = draw_overlay(image, masks, poses)
    outlines = [overlay[20, 400 * i + 50, ::-1].tolist() for i in range(10)]  # those that are opaque
    page = Elements(page_of(("a.jpg", image, [Person(pose) for pose in poses], list(masks))))
    for elements in (page.of("path"), page.of("g")[-10:], page.of("button")[-10:]):
        styles = [attributes["style"] or "" for attributes in elements]
        assert [list(bytes.fromhex(style.removeprefix("--colour: #"))) for style in styles] == outlines


def test_limbs_and_joints_are_where_the_pose_has_them() -> None:
    pose = NOBODY.copy()
    pose[5], pose[7], pose[16] = (30, 30, 2), (120.25, 90, 1), (3e38, -3e38, 2)
    shapes = skeleton_shapes(pose, FULL_SIZE, (100, 200))
    assert re.findall(r' d="(.*?)"', shapes) == ["M30.0 30.0L120.2 90.0"] * 2
    assert re.findall(r'<circle( class="occluded")? cx="(.*?)" cy="(.*?)"', shapes) == [
        ("", "30.0", "30.0"),
        (' class="occluded"', "120.2", "90.0"),
        ("", "800.0", "-800.0"),
    ]
    assert skeleton_shapes(NOBODY, FULL_SIZE, (100, 200)) == ""


def test_images_are_scaled_with_their_masks_and_skeletons() -> None:
    rows, columns = np.mgrid[:1500, :3200]
    image = np.stack([rows * 255 // 1500, columns * 255 // 3200, rows * 0], axis=-1).astype(np.uint8)
    mask = np.zeros((1500, 3200), bool)
    mask[500:1000, 1600:2400] = True
    pose = NOBODY.copy()
    pose[0] = (1600 - 0.5, 1000 - 0.5, 2)  # the border of two pixels
    page = Elements(page_of(("a.jpg", image, [Person(pose)], [mask])))
    (tag,) = page.of("img")
    encoded = base64.b64decode((tag["src"] or "").removeprefix("data:image/jpeg;base64,"))
    shown = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (600, 1280, 3)
    assert np.abs(shown[::10, ::10].astype(int) - image[::25, ::25]).max() <= 6
    assert page.of("svg")[0]["viewbox"] == "0 0 1280 600"
    assert page.of("path")[0]["d"] == "M639.7 199.7 639.7 399.3 959.3 399.3 959.3 199.7z"
    assert (page.of("circle")[0]["cx"], page.of("circle")[0]["cy"]) == ("639.5", "399.5")
    assert page.texts_of("span")[-1] == "400,000 pixels", "the area of the mask, not of the path"


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_images_of_any_aspect_ratio_are_shown(size: tuple[int, int]) -> None:
    masks = [np.ones(size, bool), np.zeros(size, bool)]
    page = Elements(page_of(("a.jpg", np.zeros((*size, 3), np.uint8), [Person(NOBODY)] * 2, masks)))
    assert page.of("img")[0]["width"] == str(min(size[1], 1280))
    assert [path["d"] == "" for path in page.of("path")] == [False, True]


def test_the_page_shows_people_scores_and_times() -> None:
    image, masks = np.zeros((20, 30, 3), np.uint8), [np.ones((20, 30), bool)] * 2
    people = [Person(NOBODY, score=0.876), Person(NOBODY, score=2.5)]
    page = Elements(
        page_of(
            ("a.jpg", image, people, masks), ("b.jpg", image, people[:1], masks[:1]), ("c.jpg", image, [], [])
        )
    )
    assert page.texts_of("bdi") == ["a.jpg", "b.jpg", "c.jpg"]
    assert page.texts_of("h3") == ["2 people", "1 person", "0 people"]
    told = [text for text in page.texts_of("span") if text]
    assert told[-12::4] == ["Person 1", "Person 2", "Person 1"]
    assert told[-11::4] == ["mask 0.75"] * 3
    assert told[-10::4] == ["pose 0.88", "pose 2.50", "pose 0.88"]
    assert told[-9::4] == ["600 pixels"] * 3
    assert page.texts_of("button").count("Hide all") == 1, "a single person has no such button"
    *_, first, _, _, totals = page.texts_of("p")
    size, batch = "30 \N{MULTIPLICATION SIGN} 20", "(mean of its batch)"
    assert first == f"{size} · reading 250 ms {batch} · masks 1.5 s {batch}"
    facts = "weights: a&b.pkl · threshold 0.5"
    assert totals == f"3 images · 3 people · reading 750 ms · masks 4.5 s · {facts}"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)<!--.jpg", None),
        ("<img src=x onerror=alert(1)>.jpg", None),
        ("\"'&amp;<!--.jpg", None),
        ("$name ${source} $$.jpg", None),
        ("Zoë 人.jpg", None),
        ("\udcff.jpg", "\\udcff.jpg"),
    ],
)
def test_any_file_name_is_shown_as_text(name: str, shown: str | None) -> None:
    page = Elements(page_of((name, np.zeros((20, 30, 3), np.uint8), [], [])))
    assert page.texts_of("bdi") == [shown or name]
    assert page.of("img")[0]["alt"] == (shown or name)
    assert len(page.of("script")) == 1


def test_the_page_loads_nothing() -> None:
    page = Elements(page_of(("a.jpg", np.zeros((20, 30, 3), np.uint8), [], [])))
    links = [
        a[key] or ""
        for _, a in page.elements
        for key in ("src", "href", "srcset", "data", "action")
        if key in a
    ]
    assert links
    assert all(link.startswith("data:") for link in links)


def test_each_image_is_written_when_it_is_added() -> None:
    file = BytesIO()
    page = Page(file)
    for i in range(3):
        before = file.tell()
        page.add(make_entry(Path(f"{i}.jpg"), np.zeros((20, 30, 3), np.uint8), [], [], [], {}))
        assert f"{i}.jpg" in file.getvalue()[before:].decode()
        assert "</article>" in file.getvalue()[before:].decode()


def test_an_entry_can_be_stored_as_json() -> None:
    entry = make_entry(Path("\udcff.jpg"), np.zeros((20, 30, 3), np.uint8), [], [], [], {"masks": 0.5})
    assert Entry(*json.loads(json.dumps(entry))) == entry


def test_the_page_is_written_atomically(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(ValueError, match="argument 2 is shorter"), page_writer(path) as page:
        page.add(make_entry(Path("a.jpg"), np.zeros((20, 30, 3), np.uint8), [Person(NOBODY)], [], [], {}))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with page_writer(path) as page:
        assert path.read_text() == "old"
    assert path.read_text().endswith("</html>\n")


def test_a_page_of_drawn_people_is_small(tmp_path: Path) -> None:
    (image,) = draw_dataset(tmp_path, (3,))
    with page_writer(tmp_path / "page.html") as page:
        people = [Person(person.keypoints) for person in image.people]
        masks = [person.segmentation for person in image.people]
        page.add(make_entry(image.path, read_image(image.path), people, masks, [0.5] * len(masks), {}))
    assert (tmp_path / "page.html").stat().st_size < image.path.stat().st_size + 40_000
