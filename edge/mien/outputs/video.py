"""The frames with what was seen drawn on them, as a video file."""

import shutil
from pathlib import Path
from typing import Any

from mien.faces import FrameResult, Image
from mien.outputs.base import Output
from mien.outputs.blur import blur_faces, places_of_faces
from mien.outputs.draw import annotate
from mien.outputs.files import MEGABYTE, unfinished
from mien.sources.capture import open_capture

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}  # those that every OpenCV can write

MAX_GAP_S = 10.0
"""For so long a frame is repeated at most, until the next one comes: a camera may be away for hours."""

RESERVE_BYTES, INDEX_BYTES = 8 * MEGABYTE, 32
"""A video ends while so much of the disk is free, and so much more for each frame: its index is written last."""


class VideoOutput(Output):
    """Writes an annotated video; frames of another size than the first are scaled to it.

    The video runs at the speed of the source: where frames come slower or faster than `frame_rate`,
    as from a camera on a slow device, they are repeated or left out. Before the disk is full it ends, and is whole.

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
        self._named: set[int] = set()

    def write(self, image: Image, result: FrameResult) -> None:
        """Add one frame, as often as its time asks for."""
        import cv2

        if self._writer is None:
            self._open(image, result.steady_s)
        wanted = self._wanted(result.steady_s)
        if wanted <= self._written:
            return
        shown = blur_faces(image, places_of_faces(result)) if self._is_blurred else image
        picture = annotate(shown, result.faces, self._named)
        if (image.shape[1], image.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size)
        while self._written < wanted:
            self._check_disk()
            self._writer.write(picture)
            self._written += 1

    def close(self) -> None:
        """Finish the video and move it to its place.

        Raises:
            OSError: it is not whole.
        """
        try:
            if self._writer is not None:
                self._writer.release()
            if self._written:
                self._check_whole()
                self._unfinished.replace(self._path)
        finally:
            self._unfinished.unlink(missing_ok=True)

    def _wanted(self, time_s: float) -> int:
        """Return how many frames the video should have at this time."""
        wanted = round((time_s - self._started_s) * self._frame_rate) + 1
        most = self._written + max(1, round(MAX_GAP_S * self._frame_rate))
        if wanted > most:
            self._started_s += (wanted - most) / self._frame_rate  # the rest of the gap is left out
        return min(wanted, most)

    def _check_disk(self) -> None:
        disk = shutil.disk_usage(self._path.parent)
        if disk.total > 0 and disk.free < RESERVE_BYTES + INDEX_BYTES * self._written:  # some network drives say 0
            raise OSError(f"the disk is nearly full: {self._path} ends here")

    def _check_whole(self) -> None:
        """Read how many frames there are: OpenCV does not say when it fails to write."""
        import cv2

        capture = open_capture(str(self._unfinished.resolve()))
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # of a file whose end is missing, 0 or below
        capture.release()
        if frames < 0.99 * self._written:
            raise OSError(f"cannot write {self._path}: its end is missing; is the disk full?")

    def _open(self, image: Image, time_s: float) -> None:
        import cv2

        self._size, self._started_s = (image.shape[1], image.shape[0]), time_s
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        # FFmpeg takes the 12 of 12:30.mp4 for a protocol, but not that of a whole path.
        self._writer = cv2.VideoWriter(str(self._unfinished.resolve()), codec, self._frame_rate, self._size)
        if not self._writer.isOpened():
            raise OSError(f"this OpenCV cannot write {self._path}: try a name that ends in .avi")
