"""The size in the header of an image file, read before decoding: a small file may hold a huge image."""

import struct


def declared_pixels(encoded: bytes) -> int:
    """Returns the number of pixels according to the header of a PNG, GIF, BMP, JPEG or TIFF, otherwise 0.

    Of the other formats that OpenCV reads, WebP has a limit of its own, which is low enough.
    """
    try:
        if encoded.startswith(b"BM") and encoded[14:18] == _OS2_HEADER:
            width, height = struct.unpack_from("<HH", encoded, 18)
            return int(width * height)
        for beginning, place, numbers in _FIXED_PLACES:
            if encoded.startswith(beginning):
                width, height = struct.unpack_from(numbers, encoded, place)
                return abs(width * height)
        if encoded.startswith(b"\xff\xd8"):
            return _jpeg_pixels(encoded)
        if encoded.startswith((b"II*\0", b"MM\0*")):
            return _tiff_pixels(encoded)
    except (struct.error, KeyError):  # the file is truncated, or its header has no size
        pass
    return 0


# The first bytes of a file, and the offset and the format of its width and height.
_FIXED_PLACES = ((b"\x89PNG", 16, ">II"), (b"GIF8", 6, "<HH"), (b"BM", 18, "<ii"))

# The length of the header of an OS/2 BMP, whose numbers are shorter.
_OS2_HEADER = struct.pack("<I", 12)

# The markers of a frame: C0 to CF without those of tables (C4, CC) and of an extension (C8).
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_MOST_MARKERS = 10_000


def _jpeg_pixels(encoded: bytes) -> int:
    place = 2
    for _ in range(_MOST_MARKERS):  # a file with only markers would take minutes
        marker, length = struct.unpack_from(">xBH", encoded, place)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", encoded, place + 5)
            return int(width * height)
        place += 1 if marker == 0xFF else 2 + length  # a marker may be preceded by any number of bytes FF
    return 0


def _tiff_pixels(encoded: bytes) -> int:
    order = "<" if encoded.startswith(b"I") else ">"
    (place,) = struct.unpack_from(f"{order}I", encoded, 4)
    (count,) = struct.unpack_from(f"{order}H", encoded, place)
    values = {}
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", encoded, entry)
        values[tag] = struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", encoded, entry + 8)[0]
    return int(values[_WIDTH] * values[_HEIGHT])


_SHORT, _WIDTH, _HEIGHT = 3, 256, 257
