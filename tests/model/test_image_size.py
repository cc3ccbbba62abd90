"""Tests of the size in the header of an image."""

import struct
import time

import cv2
import numpy as np
import pytest
from faults import declared_size, encoded
from pose2seg.common.image_size import declared_pixels

PICTURE = np.full((37, 51, 3), 90, np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        *(cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".png", ".bmp", ".jpg", ".tif")),
        *(encoded(form, PICTURE) for form in ("GIF", "TIFF", "BMP")),
        encoded("JPEG", PICTURE, progressive=True, exif=b"Exif\0\0" + bytes(60_000)),
        b"\xff\xd8\xff" + encoded("JPEG", PICTURE)[2:],
        b"MM\0*" + bytes([0, 0, 0, 8, 0, 2]) + bytes([1, 0, 0, 3, 0, 0, 0, 1, 0, 51, 0, 0])
        + bytes([1, 1, 0, 4, 0, 0, 0, 1, 0, 0, 0, 37]),
        b"BM" + struct.pack("<IHHIIHHHH", 26 + 37 * 156, 0, 0, 26, 12, 51, 37, 1, 24) + bytes(37 * 156),
    ],
)  # fmt: skip
def test_the_declared_size_is_that_of_the_image(content: bytes) -> None:
    assert declared_pixels(content) == 37 * 51


def test_the_declared_size_may_be_wrong() -> None:
    assert declared_pixels(declared_size(60_000, 50_000)) == 3_000_000_000


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "JPEG", "TIFF"])
def test_a_truncated_file_has_no_size_or_the_right_one(form: str) -> None:
    content = encoded(form, PICTURE)
    assert {declared_pixels(content[:size]) for size in range(len(content))} <= {0, 37 * 51}


@pytest.mark.parametrize("filling", [b"\xff", b"\0"])
def test_a_long_file_of_markers_is_read_quickly(filling: bytes) -> None:
    content = b"\xff\xd8" + filling * 50_000_000
    start = time.thread_time()
    assert declared_pixels(content) == 0
    assert time.thread_time() - start < 0.5


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff", b"II*\0" + bytes(100)])
def test_other_files_have_no_size(content: bytes) -> None:
    assert declared_pixels(content) == 0
