"""Videos for tests, written with PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

TICK = Fraction(1, 600)  # seconds, the unit of the times


def make_video(
    path: Path,
    times: Sequence[int] = range(0, 240, 20),
    *,
    size: tuple[int, int] = (48, 64),
    rotation: int = 0,
    index_first: bool = False,
) -> None:
    """Writes a video in which a red square moves to the right, and a green one is in the upper left corner.

    times: when each frame is shown, in ticks.
    size: (height, width) of the frames.
    rotation: the angle in degrees by which a player must rotate it counterclockwise.
    index_first: whether an MP4 has its index before the frames, so that it can be read while it is received.
    """
    import av

    options = {"movflags": "faststart"} if index_first else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TICK
        if rotation:
            stream.set_display_rotation(rotation)
        for i, time in enumerate(times):
            image = np.random.default_rng(i).integers(0, 60, (*size, 3), np.uint8)
            left = 8 + 2 * i % (size[1] - 24)
            image[16:32, left : left + 16] = (0, 0, 255)
            image[:8, :8] = (0, 255, 0)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = time, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
