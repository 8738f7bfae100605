"""The frames with what was seen drawn on them, as a video file."""

import os
from pathlib import Path
from typing import Any

from mien.faces import FrameResult, Image
from mien.outputs.base import Output
from mien.outputs.draw import annotate
from mien.outputs.files import unfinished

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}  # those that every OpenCV can write


class VideoOutput(Output):
    """Writes an annotated video; frames of another size than the first are scaled to it.

    Args:
        path: a file ending in .mp4, .mkv or .avi.
        frame_rate: frames/s of the video.

    Raises:
        OSError: the folder does not exist or cannot be written to.
    """

    def __init__(self, path: Path, frame_rate: float) -> None:
        self._path, self._unfinished, self._frame_rate = path, unfinished(path), frame_rate
        self._writer: Any = None
        self._size = (0, 0)

    def write(self, image: Image, result: FrameResult) -> None:
        """Add one frame."""
        import cv2

        if self._writer is None:
            self._size = (image.shape[1], image.shape[0])
            codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._unfinished), codec, self._frame_rate, self._size)
            if not self._writer.isOpened():
                raise OSError(f"this OpenCV cannot write {self._path}: try a name that ends in .avi")
        picture = annotate(image, result.faces)
        if (image.shape[1], image.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size)
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the video and move it to its place."""
        if self._writer is not None and self._writer.isOpened():
            self._writer.release()
            os.replace(self._unfinished, self._path)
        self._unfinished.unlink(missing_ok=True)
