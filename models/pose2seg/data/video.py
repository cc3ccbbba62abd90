"""Reading the frames of a video by number, and writing frames as a video."""

import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

from pose2seg.common.errors import InputError
from pose2seg.common.images import LARGEST_IMAGE
from pose2seg.common.remarks import DatasetWarning

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")

_LONGEST_FRAME = 2.0  # seconds for which the last frame of a complete video is shown, at most
_KEPT = 16  # decoded frames in memory, more than there are threads that read ahead


class VideoFile:
    """The frames of a video, numbered from 0 in the order in which they are shown.

    PyAV decodes them, because it gives the time of every frame, and can write videos with uneven frame times.
    Frames are rotated as the metadata of the video says.

    Raises InputError if PyAV is not installed or the file is not a video. If the video is truncated, the
    frames that remain are used, with a DatasetWarning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._decoder: Iterator[Any] | None = None
        self._position = 0
        self._decoded: OrderedDict[int, Any] = OrderedDict()
        with _opened(path) as container:
            stream = container.streams.video[0]
            #: The unit of `times`, in seconds.
            self.time_base = Fraction(stream.time_base)
            times: list[int | None] = []
            is_cut, decoded_at = False, None
            try:
                for packet in container.demux(stream):
                    if _is_whole(packet):
                        times.append(packet.pts)
                        decoded_at = packet.dts
            except _errors():
                is_cut = True
            expected, seconds = stream.frames, _declared_seconds(container, stream)
        if not times:
            raise InputError(f"{path}: no frame can be read")
        known = sorted(time for time in times if time is not None)
        are_known = len(set(known)) == len(times)
        is_cut |= expected > len(times)
        if are_known and seconds is not None:
            is_cut |= seconds - float((known[-1] - known[0]) * self.time_base) > _LONGEST_FRAME
        if is_cut and decoded_at is not None:
            # Frames are stored in decoding order, and no frame is decoded after it is shown. Some of the
            # frames that are shown after the last decoding time are missing, so the numbers of the others are
            # unknown.
            known = [time for time in known if time <= decoded_at] or known[:1]
        #: The time at which each frame is shown.
        self.times = known if are_known else list(range(len(times)))
        self._numbers = {time: i for i, time in enumerate(known)} if are_known else None
        if is_cut:
            of = f" of {expected:,}" if expected else ""
            message = f"{path}: is truncated or damaged; {len(self):,}{of} frames can be read"
            warnings.warn(message, DatasetWarning, stacklevel=2)

    def __len__(self) -> int:
        return len(self.times)

    def read(self, number: int) -> npt.NDArray[np.uint8]:
        """Returns a frame, (H, W, 3) uint8 BGR.

        Reading is fast if frames are requested roughly in order, and several threads may do so. Raises
        InputError if the frame cannot be decoded.
        """
        with self._lock:
            frame = self._find(number)
        if frame is None:
            raise InputError(f"{self.path}: frame {number} cannot be decoded")
        pixels = np.rot90(frame.to_ndarray(format="bgr24"), frame.rotation // 90)
        return np.ascontiguousarray(pixels)

    def _find(self, number: int) -> Any:
        if number < self._position and number not in self._decoded:
            self._decoder = None  # the decoder is past this frame
        if self._decoder is None:
            self._decoder, self._position = self._decode(), 0
            self._decoded.clear()
        while number >= self._position:
            found, frame = next(self._decoder, (len(self), None))
            self._position = found + 1
            if frame is not None:
                self._decoded[found] = frame
            if len(self._decoded) > _KEPT:
                self._decoded.popitem(last=False)
        return self._decoded.pop(number, None)

    def _decode(self) -> Iterator[tuple[int, Any]]:
        """Yields the numbers and the frames that can be decoded."""
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            count = 0
            for frame in _decoded(container, stream):
                number = count if self._numbers is None else self._numbers.get(frame.pts, -1)
                if number >= count:
                    yield number, frame
                    count = number + 1


class VideoWriter:
    """Writes frames as a video, H.264 in MP4, while they are added.

    file: the file to write to, which must be seekable.
    time_base: the unit of the frames' times, in seconds.
    """

    def __init__(self, file: BinaryIO, time_base: Fraction) -> None:
        import av

        self._container = av.open(file, "w", format="mp4")
        self._time_base = time_base
        self._stream: Any = None
        self._start = 0

    def add(self, image: npt.NDArray[np.uint8], time: int) -> None:
        """Adds a frame.

        image: (H, W, 3) uint8 BGR; if it does not have the size of the first frame, it is resized to it.
        time: when the frame is shown, in units of `time_base`; the video begins at the time of the first
            frame.
        """
        import av

        height, width = (side + side % 2 for side in image.shape[:2])  # H.264 has one colour for 2 x 2 pixels
        if self._stream is None:
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(codec, rate=Fraction(30))
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = self._time_base
            self._start = time
        size = self._stream.width, self._stream.height
        if (width, height) != size:
            image = cv2.resize(image, size).astype(np.uint8, copy=False)
        missing = size[1] - image.shape[0], size[0] - image.shape[1]
        image = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = time - self._start, self._time_base
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Writes the frames that the encoder has delayed, and the end of the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _declared_seconds(container: Any, stream: Any) -> float | None:
    """Returns the duration in the metadata of a video, or None if it may be the duration of the sound."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if len(container.streams) == 1 and container.duration is not None:
        return float(container.duration) / 1e6
    return None


def is_video(path: Path) -> bool:
    """Returns whether a path leads to a file with the suffix of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _is_whole(packet: Any) -> bool:
    return packet.size > 0 and not packet.is_corrupt and not packet.is_discard


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Yields the frames of a stream, without damaged ones."""
    packets, errors = container.demux(stream), _errors()
    while True:
        try:
            packet = next(packets, None)
        except errors:  # the file ends here; the frames that the decoder has delayed follow
            packet = None
        try:
            frames = stream.decode(packet)
        except errors:
            frames = []
        yield from frames
        if packet is None or packet.size == 0:
            return


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import av
    except ImportError as error:
        problem = f"PyAV cannot be imported ({error}): pip install 'pose2seg_ops[video]'"
        raise InputError(f"{path}: {problem}") from error
    os.stat(path)  # raises the usual OSError if the file does not exist
    try:
        container = av.open(str(path))
    except _errors() as error:
        raise InputError(f"{path}: not a video that PyAV can read: {error.strerror}") from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path}: not a video: it has no frames")
        context = container.streams.video[0].codec_context
        if context.width * context.height > LARGEST_IMAGE:
            size = f"{context.width} x {context.height}"
            raise InputError(f"{path}: frames must have at most {LARGEST_IMAGE:,} pixels, got {size}")
        yield container


def _errors() -> Any:
    import av

    return av.FFmpegError
