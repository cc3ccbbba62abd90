"""The images of the gallery are what its code draws."""

from pathlib import Path

import cv2
import draw_gallery
import numpy as np
import pytest


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    draw_gallery.draw(folder)
    return folder


NAMES = [drawing.__name__ for drawing in draw_gallery.DRAWINGS]


@pytest.mark.parametrize("name", [f"{name}.jpg" for name in NAMES])
def test_an_image_is_up_to_date(drawn: Path, name: str) -> None:
    expected, found = (cv2.imread(str(folder / name)) for folder in (draw_gallery.OUTPUT, drawn))
    assert expected is not None
    assert found is not None
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 1
    assert found.std() > 20


def test_every_image_is_on_the_page() -> None:
    page = (draw_gallery.OUTPUT.parent / "gallery.md").read_text()
    for name in NAMES:
        assert f"(gallery/{name}.jpg)" in page
        assert f":pyobject: {name}\n" in page
    assert {path.stem for path in draw_gallery.OUTPUT.iterdir()} == set(NAMES)
