"""A USB camera through OpenCV (V4L2 on Linux)."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.config import Config
from mien.sources.base import Frame, Source
from mien.sources.capture import Capture, frame_rate_of, live_frames, open_capture

DEVICES = Path("/dev")
SYSTEM = Path("/sys/class/video4linux")


class CameraSource(Source):
    """Reads the newest frames of a camera; their time is Unix time.

    Args:
        device: a device such as "/dev/video0", or "camera" for the first that gives a picture.
        config: the size and the rate that it is asked for; it may give others.

    Raises:
        FileNotFoundError: there is no such camera.
        PermissionError: the user may not read it.
        OSError: it gives no picture.
    """

    is_live = True

    def __init__(self, device: str, config: Config) -> None:
        candidates = candidate_paths(device)
        if not any(os.access(path, os.R_OK | os.W_OK) for path in candidates):
            raise PermissionError(f"no permission for {candidates[0]}: sudo usermod -aG video $USER, then log in again")
        for path in candidates:
            self._capture = Capture(_ask(self._open(_number(path)), config))
            image = self._capture.read()
            if image is not None:
                self._first, self._device = Frame(image, 0, time.time()), path
                self.frame_rate, self.name = frame_rate_of(self._capture), _lasting_name(path)
                return
            self._capture.close()
        tried = ", ".join(map(str, candidates))
        raise OSError(f"no picture from {tried}: is another program using the camera?")

    def __iter__(self) -> Iterator[Frame]:
        lost = f"the camera at {self._device} stopped giving pictures: is it still plugged in?"
        return live_frames(self._capture, self._first, lost)

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.close()

    @staticmethod
    def _open(number: int) -> Any:
        import cv2

        return open_capture(number, cv2.CAP_V4L2)


def _ask(capture: Any, config: Config) -> Any:
    """Ask an OpenCV capture for the wanted pictures, and return it; a camera gives what it can."""
    import cv2

    width, height = config.camera_size
    # Uncompressed, USB 2 carries 640x480 at 30 frames/s and hardly more.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    capture.set(cv2.CAP_PROP_FPS, config.frame_rate)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # else four old frames wait in the driver
    return capture


def candidate_paths(device: str) -> list[Path]:
    """Return the devices that may be the one that is meant, best first."""
    present = sorted(DEVICES.glob("video[0-9]*"), key=_number)
    if device != "camera":
        # /dev/v4l/by-id/... are links that keep their name when cameras are plugged in again.
        chosen = Path(device).resolve()
        if chosen not in present:
            found = ", ".join(map(str, present)) or "none"
            raise FileNotFoundError(f"there is no camera at {device}: cameras here are {found}; plug one in")
        return [chosen]
    candidates = [path for path in present if not _is_part_of_the_board(path)]
    if not candidates:
        seen = f"{', '.join(map(str, present))} belong to the board" if present else f"no {DEVICES}/video* exists"
        raise FileNotFoundError(f"there is no USB camera: {seen}; plug one in or use --source FILE")
    return candidates


def _is_part_of_the_board(path: Path) -> bool:
    """Return whether a device is a codec or a bare sensor: a Pi has up to twenty, each of which costs 10 s to try."""
    device = SYSTEM / path.name
    return device.exists() and "/platform/" in str(device.resolve()) and "/usb" not in str(device.resolve())


def _lasting_name(path: Path) -> str:
    """Return the link that names the camera itself, where there is one: numbers change when others are plugged in."""
    links = sorted((DEVICES / "v4l" / "by-id").glob("*"))
    return str(next((link for link in links if link.resolve() == path.resolve()), path))


def _number(path: Path) -> int:
    return int(re.sub(r"\D", "", path.name) or 0)
