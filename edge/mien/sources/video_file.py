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

        self._capture = cv2.VideoCapture(str(path))
        is_read, self._first = self._capture.read()
        if not is_read:
            self._capture.release()
            raise ValueError(f"{path} holds no video frame that can be read: give a video file such as .mp4 or .mkv")
        frame_rate = self._capture.get(cv2.CAP_PROP_FPS)
        # Some containers say nothing or nonsense; a video must still be written at some rate.
        self.frame_rate = frame_rate if 1 <= frame_rate <= 240 else 30.0

    def __iter__(self) -> Iterator[Frame]:
        image, index, is_read = self._first, 0, True
        while is_read:
            yield Frame(image, index, index / self.frame_rate)
            index += 1
            is_read, image = self._capture.read()

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
