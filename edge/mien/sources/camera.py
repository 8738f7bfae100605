"""A USB camera through OpenCV (V4L2 on Linux)."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.sources.base import Frame, Source

DEVICES = Path("/dev")


class CameraSource(Source):
    """Reads the newest frames of a camera; their time is Unix time.

    Args:
        device: a device such as "/dev/video0", or "camera" for the first that gives a picture (a
            board has devices that are no cameras, too).

    Raises:
        FileNotFoundError: there is no such camera.
        PermissionError: the user may not read it.
        OSError: it gives no picture.
    """

    def __init__(self, device: str) -> None:
        present = sorted(DEVICES.glob("video[0-9]*"), key=_number)
        if device != "camera":
            # /dev/v4l/by-id/... are links that keep their name when cameras are plugged in again.
            chosen = Path(device).resolve()
            if chosen not in present:
                found = ", ".join(map(str, present)) or "none"
                raise FileNotFoundError(f"there is no camera at {device}: cameras here are {found}; plug one in")
            present = [chosen]
        if not present:
            raise FileNotFoundError(f"there is no camera: no {DEVICES}/video* exists; plug one in or use --source FILE")
        if not any(os.access(path, os.R_OK | os.W_OK) for path in present):
            raise PermissionError(f"no permission for {present[0]}: sudo usermod -aG video $USER, then log in again")
        for path in present:
            self._capture = self._open(_number(path))
            is_read, self._first = self._capture.read()
            if is_read:
                self._device = path
                return
            self._capture.release()
        tried = ", ".join(map(str, present))
        raise OSError(f"no picture from {tried}: is another program using the camera?")

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


def _number(path: Path) -> int:
    return int(re.sub(r"\D", "", path.name) or 0)
