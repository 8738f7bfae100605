"""Frames of a video file, as fast as they are asked for, with the times that the file gives them."""

from collections.abc import Iterator
from pathlib import Path

from mien.sources.base import Frame, Source


class VideoFileSource(Source):
    """Reads a video file with OpenCV.

    Raises:
        ValueError: the file holds no frame that OpenCV can decode.
    """

    def __init__(self, path: Path) -> None:
        import cv2

        self._capture = cv2.VideoCapture(str(path.resolve()))  # FFmpeg takes the 12 of 12:30.mp4 for a protocol
        is_read, self._first = self._capture.read()
        if not is_read:
            self._capture.release()
            raise ValueError(f"{path} holds no video frame that can be read: give a video file such as .mp4 or .mkv")
        frame_rate = self._capture.get(cv2.CAP_PROP_FPS)
        # Some containers say nothing or nonsense; a video must still be written at some rate.
        self.frame_rate = frame_rate if 1 <= frame_rate <= 240 else 30.0

    def __iter__(self) -> Iterator[Frame]:
        import cv2

        image, index, time_s, is_read = self._first, 0, 0.0, True
        while is_read:
            yield Frame(image, index, time_s)
            index += 1
            is_read, image = self._capture.read()
            # Phones film at a varying rate, so the file's own time counts; some formats have none.
            file_time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            time_s = file_time_s if file_time_s > time_s else time_s + 1 / self.frame_rate

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
