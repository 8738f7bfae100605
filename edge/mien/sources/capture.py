"""What cameras, streams and video files have in common: OpenCV reads them all through one class."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mien.faces import Image
from mien.sources.base import Frame, SourceLostError

READS_BEFORE_LOST = 5
"""USB cameras send a damaged picture now and then; so many in a row, or none for a second, and the camera is lost."""

LOG_LEVEL_ERROR = 2
"""OpenCV's."""

FFMPEG_LOG_VARIABLE = "OPENCV_FFMPEG_LOGLEVEL"


class Capture:
    """An OpenCV capture that any thread may close: a read that is under way ends first, else it would crash.

    Attributes:
        closed: set by `close`.
    """

    def __init__(self, capture: Any) -> None:
        self.closed = threading.Event()
        self._capture = capture
        self._lock = threading.Lock()

    def read(self) -> Image | None:
        """Return the next picture, (H, W, 3) BGR uint8, or None: it failed, or the capture is closed."""
        with self._lock:
            if self.closed.is_set():
                return None
            is_read, image = self._capture.read()
        return image if is_read else None

    def get(self, what: int) -> float:
        """Return one of OpenCV's CAP_PROP_*; 0 if there is none."""
        with self._lock:
            return float(self._capture.get(what))

    def close(self) -> None:
        """Let go of the camera, stream or file."""
        self.closed.set()
        with self._lock:
            self._capture.release()


def open_capture(what: str | int, backend: int = 0, parameters: Sequence[int] = ()) -> Any:
    """Return an OpenCV capture that keeps its trouble to itself: who opens it tells it in one line.

    Args:
        what: a file, a URL or a camera's number.
        backend: one of OpenCV's CAP_*; 0 leaves the choice to it.
        parameters: CAP_PROP_* and value in turns, for those that must be known before it opens.
    """
    os.environ.setdefault(FFMPEG_LOG_VARIABLE, "-8")  # AV_LOG_QUIET
    import cv2

    if "OPENCV_LOG_LEVEL" not in os.environ:
        # Up to 4.11 it is a function of cv2, later one of cv2.utils.logging.
        (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(LOG_LEVEL_ERROR)
    return cv2.VideoCapture(what, backend, list(parameters)) if parameters else cv2.VideoCapture(what, backend)


def frame_rate_of(capture: Capture) -> float:
    """Return what OpenCV says of the frames/s, where it can be true: some formats say nothing, or nonsense."""
    import cv2

    frame_rate = capture.get(cv2.CAP_PROP_FPS)
    return frame_rate if 1 <= frame_rate <= 240 else 30.0


def live_frames(capture: Capture, first: Frame, lost: str) -> Iterator[Frame]:
    """Yield the frames of a camera or stream, with Unix time, until it is closed.

    Raises:
        SourceLostError: with the message `lost`; there are no more.
    """
    frame: Frame = first
    while True:
        yield frame
        image = _read_patiently(capture)
        if capture.closed.is_set():
            return
        if image is None:
            raise SourceLostError(lost)
        frame = Frame(image, frame.index + 1, time.time())


def _read_patiently(capture: Capture) -> Image | None:
    started_s = time.monotonic()
    for _ in range(READS_BEFORE_LOST):
        image = capture.read()
        if image is not None or time.monotonic() - started_s > 1:
            return image
    return None
