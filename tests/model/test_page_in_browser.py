"""Tests of the page in a browser: real clicks, keys and touches, and the pixels that they change."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from browser import CSS, Browser, background, colour, luminance, prefer, resize, start_browser
from people import draw_dataset
from pose2seg.common.images import read_image
from pose2seg.data.dataset import PersonImage
from pose2seg.data.poses import Person
from pose2seg.prediction.page import make_entry, page_writer
from pycocotools import mask as coco_mask
from shared_data import real_images

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
POINTERS = pytest.importorskip("selenium.webdriver.common.actions.pointer_input")
Keys = webdriver.Keys
WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = start_browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(started: Browser) -> Iterator[Browser]:
    """Opens a window of 1280 x 1000 pixels in light colours. The page must have no errors at the end."""
    resize(started, 1280, 1000)
    prefer(started, "light")
    yield started
    assert started.get_log("browser") == [], "the console"


@pytest.fixture
def drawn(tmp_path: Path) -> list[PersonImage]:
    return draw_dataset(tmp_path, (3, 1, 5, 2), size=(120, 180))


def write_page(images: list[PersonImage], path: Path) -> str:
    """Writes a page with the annotated masks. Returns its URL."""
    with page_writer(path) as page:
        for image in images:
            people = [Person(person.keypoints, 0.9) for person in image.people]
            masks = [person.segmentation for person in image.people]
            page.add(
                make_entry(
                    image.path, read_image(image.path), people, masks, [0.75] * len(masks), {"masks": 0.5}
                )
            )
    return path.as_uri()


def find(browser: Browser, selector: str, at: int = 0) -> Any:
    return browser.find_elements(CSS, selector)[at]


def look(browser: Browser) -> npt.NDArray[np.int16]:
    """Returns the pixels of the first image, with the mouse away from it."""
    webdriver.ActionChains(browser).move_to_element(find(browser, "h1")).perform()
    encoded = np.frombuffer(find(browser, ".image").screenshot_as_png, np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.int16)


def changes(
    before: npt.NDArray[np.int16], after: npt.NDArray[np.int16], by: int = 40
) -> npt.NDArray[np.bool_]:
    """Returns the pixels that differ by more than antialiasing, which varies in Chromium."""
    return np.asarray((abs(before - after) > by).any(-1))


def enlarged(mask: npt.NDArray[Any], size: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    resized = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    return resized.astype(np.uint8)


def pressed(browser: Browser, entry: int = 1) -> list[bool]:
    buttons = browser.find_elements(CSS, f".entry:nth-child({entry}) .person")
    return [button.get_attribute("aria-pressed") == "true" for button in buttons]


@pytest.mark.parametrize("dataset", ["drawn", "real"])
def test_selecting_a_person_hides_exactly_their_mask(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path, dataset: str
) -> None:
    image = hollow(drawn[0])
    if dataset == "real":
        image = next(image for image in real_images() if len(image.people) == 5)
    browser.get(write_page([image], tmp_path / "page.html"))
    find(browser, '.layer[data-layer="skeletons"]').click()
    everybody = look(browser)
    size = everybody.shape[:2]
    margin = np.ones(2 * [2 * round(2 * size[0] / image.size[0]) + 1], np.uint8)  # two pixels of the image
    outlines = [cv2.morphologyEx(enlarged(m, size), cv2.MORPH_GRADIENT, margin) for m in image.masks]
    for i, mask in enumerate(image.masks):
        find(browser, ".person", i).click()
        assert pressed(browser) == [j != i for j in range(len(image.people))]
        without, shown = look(browser), enlarged(mask, size)
        assert not changes(everybody, without)[cv2.dilate(shown, margin) == 0].any(), "only their mask"
        others = np.any([o for j, o in enumerate(outlines) if j != i], axis=0)  # their skeleton may cover it
        inside = (cv2.erode(shown, margin) > 0) & ~others
        assert inside.any()
        assert changes(everybody, without, by=0)[inside].mean() > 0.999, "all of their mask"
        find(browser, ".person", i).click()
        assert not changes(everybody, look(browser)).any(), "shown again"


def hollow(image: PersonImage) -> PersonImage:
    """Returns an image with masks that are rings of 8 pixels."""
    rims = [mask - cv2.erode(mask, np.ones((17, 17), np.uint8)) for mask in image.masks]
    people = [
        replace(person, segmentation=coco_mask.encode(np.asfortranarray(rim)))
        for person, rim in zip(image.people, rims, strict=True)
    ]
    return replace(image, people=people)


def test_a_hidden_person_has_no_skeleton(browser: Browser, drawn: list[PersonImage], tmp_path: Path) -> None:
    browser.get(write_page(drawn[:1], tmp_path / "page.html"))
    find(browser, '.layer[data-layer="masks"]').click()
    everybody = look(browser)
    scale = everybody.shape[0] / drawn[0].size[0]
    for i, person in enumerate(drawn[0].people):
        find(browser, ".person", i).click()
        changed = changes(everybody, look(browser))
        find(browser, ".person", i).click()
        labelled = person.keypoints[person.keypoints[:, 2] > 0, :2]
        box = np.zeros(changed.shape, bool)
        (x, y), (right, below) = (labelled.min(0) - 5) * scale, (labelled.max(0) + 6) * scale
        box[max(0, int(y)) : int(below), max(0, int(x)) : int(right)] = True
        assert changed.any()
        assert not changed[~box].any()


def test_selecting_a_person_in_the_image_hides_them(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path
) -> None:
    browser.get(write_page(drawn[1:2], tmp_path / "page.html"))
    before = look(browser)
    image = find(browser, ".image")
    rows, columns = np.nonzero(drawn[1].masks[0])
    scale = image.size["width"] / drawn[1].size[1]
    x = round(scale * float(columns.mean()) - image.size["width"] / 2)
    y = round(scale * float(rows.mean()) - image.size["height"] / 2)
    webdriver.ActionChains(browser).move_to_element_with_offset(image, x, y).click().perform()
    assert pressed(browser) == [False]
    assert changes(before, look(browser)).any()
    find(browser, ".person").click()
    assert not changes(before, look(browser)).any()


def test_hovering_over_a_person_dims_the_others(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path
) -> None:
    browser.get(write_page(drawn[:1], tmp_path / "page.html"))

    def opacities() -> list[float]:
        paths = browser.find_elements(CSS, ".masks path")
        return [float(path.value_of_css_property("fill-opacity")) for path in paths]

    webdriver.ActionChains(browser).move_to_element(find(browser, ".person", 1)).perform()
    first, second, third = opacities()
    assert first == third < second
    webdriver.ActionChains(browser).move_to_element(find(browser, "h1")).perform()
    first, second, third = opacities()
    assert first == second == third
    find(browser, ".person", 1).click()
    for place in (find(browser, "h1"), find(browser, ".person", 1)):
        assert browser.find_elements(CSS, ".lit, .spotlight") == [], "nobody is dimmed for a hidden person"
        webdriver.ActionChains(browser).move_to_element(place).perform()
    assert browser.find_elements(CSS, ".lit, .spotlight") == []


def test_all_people_and_layers_can_be_hidden_at_once(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path
) -> None:
    browser.get(write_page(drawn, tmp_path / "page.html"))
    everything = look(browser)
    everybody = find(browser, ".everybody")
    assert everybody.accessible_name == f"Hide all in {drawn[0].path.name}"
    for layer in browser.find_elements(CSS, ".layer"):
        layer.click()
        assert layer.get_attribute("aria-pressed") == "false"
    without_people = look(browser)
    for layer in browser.find_elements(CSS, ".layer"):
        layer.click()
    everybody.click()
    assert everybody.text == "Show all"
    assert everybody.accessible_name == f"Show all in {drawn[0].path.name}"
    assert pressed(browser, 1) == [False] * 3
    assert pressed(browser, 3) == [True] * 5, "of another image"
    assert not changes(without_people, look(browser)).any()
    assert changes(without_people, everything).any()
    find(browser, ".person").click()
    assert everybody.text == "Show all"
    everybody.click()
    assert everybody.text == "Hide all"
    assert not changes(everything, look(browser)).any()


def test_only_visible_images_are_laid_out(browser: Browser, drawn: list[PersonImage], tmp_path: Path) -> None:
    browser.get(write_page(drawn * 100, tmp_path / "page.html"))
    visible = """
    const seen = (image) => image.checkVisibility({ contentVisibilityAuto: true });
    return [...document.querySelectorAll(".entry img")].map(seen);
    """
    assert 1 <= sum(browser.execute_script(visible)) < 10
    browser.execute_script("document.querySelector('.entry:last-child').scrollIntoView()")
    WebDriverWait(browser, 30).until(lambda _: find(browser, "#place").text == "400 / 400")
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(visible)[-1])
    assert sum(browser.execute_script(visible)) < 20
    find(browser, "#previous").click()
    WebDriverWait(browser, 30).until(lambda _: find(browser, "#place").text == "399 / 400")


def test_the_page_can_be_used_with_the_keyboard(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path
) -> None:
    browser.get(write_page(drawn, tmp_path / "page.html"))
    press = partial(send, browser)
    ring = "return [getComputedStyle(document.activeElement).outlineStyle, document.activeElement.classList[0] ?? '']"
    for expected in ("", "", "layer", "layer", "everybody", "person"):
        press(Keys.TAB)
        assert browser.execute_script(ring) == ["solid", expected]
    press(Keys.SPACE)
    assert pressed(browser) == [False, True, True]
    press(Keys.ENTER)
    assert pressed(browser) == [True, True, True]
    press(Keys.TAB, Keys.ENTER)
    assert pressed(browser) == [True, False, True]

    for keys, place in (
        (Keys.ARROW_RIGHT, 2),
        (Keys.ARROW_RIGHT * 2, 4),
        (Keys.ARROW_RIGHT, 4),
        (Keys.ARROW_LEFT, 3),
    ):
        press(*keys)
        focused = "return [...document.querySelectorAll('article')].indexOf(document.activeElement) + 1"
        assert browser.execute_script(focused) == place
        assert find(browser, "#place").text == f"{place} / 4"
        assert 0 < browser.execute_script("return document.activeElement.getBoundingClientRect().top") < 120
    press(Keys.TAB, Keys.TAB, Keys.SPACE)
    assert pressed(browser, 3) == [False, True, True, True, True]


def send(browser: Browser, *keys: str) -> None:
    webdriver.ActionChains(browser).send_keys(*keys).perform()


def test_the_buttons_go_from_image_to_image(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path
) -> None:
    browser.get(write_page(drawn, tmp_path / "page.html"))
    for button, place in (("next", 2), ("next", 3), ("next", 4), ("next", 4), ("previous", 3)):
        find(browser, f"#{button}").click()
        assert find(browser, "#place").text == f"{place} / 4"


def test_the_page_fits_the_width_of_a_phone(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path
) -> None:
    resize(browser, 360, 740, phone=True)
    (tmp_path / "wide").mkdir()
    images = [renamed(drawn[0], "long_" * 40 + ".png"), *draw_dataset(tmp_path / "wide", (2,), (10, 3000))]
    browser.get(write_page(images, tmp_path / "page.html"))
    browser.execute_script("document.querySelector('#place').textContent = '1000 / 1000'")
    assert browser.execute_script("return innerWidth") == 360
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    sizes = [button.size for button in browser.find_elements(CSS, "button")]
    assert min(size["height"] for size in sizes) >= 44
    assert min(size["width"] for size in sizes) >= 24

    for expected in ([True, False, True], [True, True, True]):
        tap(browser, find(browser, ".person", 1))
        assert pressed(browser) == expected
        assert browser.find_elements(CSS, ".lit") == [], "a touch must not leave people dimmed"


def tap(browser: Browser, element: Any) -> None:
    finger = POINTERS.PointerInput("touch", "finger")
    actions = webdriver.ActionChains(browser, devices=[finger]).w3c_actions
    actions.pointer_action.move_to(element).pointer_down().pointer_up()
    actions.perform()


def renamed(image: PersonImage, name: str) -> PersonImage:
    return replace(image, path=image.path.rename(image.path.with_name(name)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path, scheme: str
) -> None:
    prefer(browser, scheme)
    browser.get(write_page(drawn[:1], tmp_path / "page.html"))
    find(browser, ".person", 1).click()
    find(browser, '.layer[data-layer="masks"]').click()
    assert (luminance(background(browser, "body")) > 0.5) == (scheme == "light")
    texts = (
        "h1",
        "h2",
        "h3",
        ".hint",
        "#totals",
        ".entry > header p",
        ".who",
        ".score",
        ".area",
        "#place",
    )
    buttons = (
        "#next",
        ".layer",
        '.layer[aria-pressed="true"]',
        ".everybody",
        '.person[aria-pressed="false"] .who',
    )
    for selector in (*texts, *buttons):
        text = colour(find(browser, selector).value_of_css_property("color"))
        light, dark = sorted((luminance(text), luminance(background(browser, selector))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, selector


def test_nothing_moves_with_reduced_motion(
    browser: Browser, drawn: list[PersonImage], tmp_path: Path
) -> None:
    browser.get(write_page(drawn[:1], tmp_path / "page.html"))
    for selector in (".person", ".masks path"):
        assert find(browser, selector).value_of_css_property("transition-duration") == "0s"


def test_a_script_in_a_file_name_is_text(browser: Browser, drawn: list[PersonImage], tmp_path: Path) -> None:
    names = ["<script>document.title = 1<!--.png", "<img src=x onerror='document.title = 2'>.png"]
    images = [renamed(image, name) for image, name in zip(drawn, names, strict=False)]
    browser.get(write_page(images, tmp_path / "page.html"))
    assert [heading.text for heading in browser.find_elements(CSS, "h2")] == names
    assert browser.title == "Masks of people \N{EN DASH} pose2seg"
    assert len(browser.find_elements(CSS, ".entry")) == 2


def test_only_its_own_script_can_run(started: Browser, drawn: list[PersonImage], tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(drawn[:1], path)
    harm = "<script>document.title = 'harm'</script><img src=x onerror=\"document.title = 'harm'\">"
    path.write_text(path.read_text().replace("<main>", f"<main>{harm}"))
    started.get(path.as_uri())
    assert started.title != "harm"
    assert all("Content Security Policy" in entry["message"] for entry in started.get_log("browser"))


def test_the_page_is_the_only_request(browser: Browser, drawn: list[PersonImage], tmp_path: Path) -> None:
    write_page(drawn, tmp_path / "page.html")
    paths: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            paths.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/page.html"
        browser.get_log("performance")
        browser.get(url)
        find(browser, ".person").click()
        find(browser, "#next").click()
        events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    finally:
        server.shutdown()
        server.server_close()
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [address for address in sent if not address.startswith("data:")] == [url]
    assert paths == ["/page.html"]
