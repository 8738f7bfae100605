"""A USB camera through OpenCV (V4L2 on Linux)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.sources.base import Frame, Source


class CameraSource(Source):
    """Reads the newest frames of a camera; their time is Unix time.

    Args:
        device: "camera" for the first camera, or a device such as "/dev/video0".

    Raises:
        FileNotFoundError: there is no such camera.
        ValueError: the camera gives no picture.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        present = [path.name for path in sorted(Path("/dev").glob("video*"))]
        if device != "camera" and Path(device).name not in present:
            found = ", ".join(f"/dev/{name}" for name in present) or "none"
            raise FileNotFoundError(
                f"there is no camera at {device}: cameras here are {found}; plug one in or name another"
            )
        if device == "camera" and Path("/dev").is_dir() and not present:
            raise FileNotFoundError("there is no camera: no /dev/video* exists; plug one in or use --source FILE")
        self._capture = self._open(0 if device == "camera" else int(device.removeprefix("/dev/video")))
        is_read, self._first = self._capture.read()
        if not is_read:
            self._capture.release()
            raise ValueError(f"the camera at {device} gives no picture: is another program using it?")

    def __iter__(self) -> Iterator[Frame]:
        image, index, is_read = self._first, 0, True
        while is_read:
            yield Frame(image, index, time.time())
            index += 1
            is_read, image = self._capture.read()
        raise OSError(f"the camera at {self._device} stopped giving pictures: is it still plugged in?")

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()

    @staticmethod
    def _open(number: int) -> Any:
        import cv2

        capture = cv2.VideoCapture(number)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # else four old frames wait in the driver
        return capture
