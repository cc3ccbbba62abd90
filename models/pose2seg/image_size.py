"""How large an image says that it is, before it is decoded: a small file may hold a very large one."""

import struct


def declared_pixels(encoded: bytes) -> int:
    """How many pixels a PNG, GIF, BMP, JPEG or TIFF says that it has; 0 for another one, or a damaged one.

    Of the other formats that OpenCV reads, WebP has too small a limit of its own to matter.
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
    except (struct.error, KeyError):  # it is cut off, or says nothing
        pass
    return 0


# How the file begins, and where width and height are.
_FIXED_PLACES = ((b"\x89PNG", 16, ">II"), (b"GIF8", 6, "<HH"), (b"BM", 18, "<ii"))

# How long the header of a BMP of OS/2 is, which has shorter numbers.
_OS2_HEADER = struct.pack("<I", 12)

# The markers of a frame: C0 to CF, but for those of tables (C4, CC) and of an extension (C8).
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_MOST_MARKERS = 10_000


def _jpeg_pixels(encoded: bytes) -> int:
    place = 2
    for _ in range(_MOST_MARKERS):  # a file of nothing but markers would take minutes
        marker, length = struct.unpack_from(">xBH", encoded, place)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", encoded, place + 5)
            return int(width * height)
        place += 1 if marker == 0xFF else 2 + length  # any number of bytes FF may stand before a marker
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
