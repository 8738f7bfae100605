"""The frames with what was seen drawn on them, as a video file."""

from pathlib import Path
from typing import Any

from mien.faces import FrameResult, Image
from mien.outputs.base import Output
from mien.outputs.blur import blur_faces
from mien.outputs.draw import annotate
from mien.outputs.files import unfinished

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}  # those that every OpenCV can write


class VideoOutput(Output):
    """Writes an annotated video; frames of another size than the first are scaled to it.

    The video runs at the speed of the source: where frames come slower or faster than `frame_rate`,
    as from a camera on a slow device, they are repeated or left out.

    Args:
        path: a file ending in .mp4, .mkv or .avi.
        frame_rate: frames/s of the video.
        is_blurred: whether faces are made unrecognisable.

    Raises:
        OSError: the file cannot be written there.
    """

    is_record = True
    queue_size = 2

    def __init__(self, path: Path, frame_rate: float, is_blurred: bool = False) -> None:
        self._path, self._unfinished, self._frame_rate = path, unfinished(path), frame_rate
        self._is_blurred = is_blurred
        self._writer: Any = None
        self._size = (0, 0)
        self._started_s = 0.0
        self._written = 0

    def write(self, image: Image, result: FrameResult) -> None:
        """Add one frame, as often as its time asks for."""
        import cv2

        if self._writer is None:
            self._open(image, result.time_s)
        wanted = round((result.time_s - self._started_s) * self._frame_rate) + 1
        if wanted <= self._written:
            return
        shown = blur_faces(image, result.faces) if self._is_blurred else image
        picture = annotate(shown, result.faces)
        if (image.shape[1], image.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size)
        while self._written < wanted:
            self._writer.write(picture)
            self._written += 1

    def close(self) -> None:
        """Finish the video and move it to its place."""
        try:
            if self._writer is not None and self._writer.isOpened():
                self._writer.release()
                self._unfinished.replace(self._path)
        finally:
            self._unfinished.unlink(missing_ok=True)

    def _open(self, image: Image, time_s: float) -> None:
        import cv2

        self._size, self._started_s = (image.shape[1], image.shape[0]), time_s
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        # FFmpeg takes the 12 of 12:30.mp4 for a protocol, but not that of a whole path.
        self._writer = cv2.VideoWriter(str(self._unfinished.resolve()), codec, self._frame_rate, self._size)
        if not self._writer.isOpened():
            raise OSError(f"this OpenCV cannot write {self._path}: try a name that ends in .avi")
