"""Frames of a video file with the times that the file gives them, as fast as they are asked for or at its own speed."""

import logging
import time
from collections.abc import Iterator

from mien.sources.base import Frame, Source
from mien.sources.capture import Capture, frame_rate_of

logger = logging.getLogger(__name__)


class VideoFileSource(Source):
    """Reads a video file with OpenCV.

    Args:
        capture: the file, which is open.
        name: what messages call it.
        is_realtime: be live: each frame comes at its own time, as a camera's would.

    Raises:
        ValueError: the file holds no frame that OpenCV can decode.
    """

    def __init__(self, capture: Capture, name: str, is_realtime: bool = False) -> None:
        self._capture, self.name = capture, name
        self.is_live = is_realtime
        self._first = capture.read()
        if self._first is None:
            capture.close()
            raise ValueError(f"{name} holds no video frame that can be read: give a video file such as .mp4 or .mkv")
        self.frame_rate = frame_rate_of(capture)

    def __iter__(self) -> Iterator[Frame]:
        import cv2

        image, index, time_s, started_s = self._first, 0, 0.0, time.monotonic()
        while image is not None:
            if self.is_live and self._capture.closed.wait(started_s + time_s - time.monotonic()):
                return
            yield Frame(image, index, time_s)
            index += 1
            image = self._capture.read()
            if image is not None:
                # Phones film at a varying rate, so the file's own time counts; some formats have none.
                file_time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                time_s = file_time_s if file_time_s > time_s else time_s + 1 / self.frame_rate
        if not self._capture.closed.is_set():
            self._tell_if_incomplete(time_s)

    def close(self) -> None:
        """Close the file."""
        self._capture.close()

    def _tell_if_incomplete(self, time_s: float) -> None:
        """Warn if the last frame came long before the end that the file announces."""
        import cv2

        # Of files that do not count their frames, OpenCV's count is the length times this rate, however wrong it is.
        frame_rate = self._capture.get(cv2.CAP_PROP_FPS)
        length_s = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) / frame_rate if frame_rate > 0 else 0.0
        if time_s < 0.9 * length_s - 0.5:
            logger.warning("%s ends at %.1f of %.1f s: it is damaged or incomplete", self.name, time_s, length_s)
