"""A network camera, or a video on a web server, through OpenCV's FFmpeg."""

import os
import re
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from mien.sources.base import Frame, Source
from mien.sources.capture import Capture, frame_rate_of, live_frames, open_capture
from mien.sources.video_file import VideoFileSource

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
TIMEOUT_S = 5.0
FFMPEG_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


def is_url(text: str) -> bool:
    """Return whether a text is a URL that `open_network` understands."""
    return text.lower().startswith(tuple(f"{scheme}://" for scheme in PORTS))


def open_network(url: str, is_realtime: bool = False) -> Source:
    """Open a stream, or a video file on a web server: the one that says how long it is is a file.

    Args:
        url: rtsp://, rtsps://, http:// or https://, with user:password@ if the camera wants them.
        is_realtime: play a file at its own speed.

    Raises:
        ValueError: the URL has no host, or a port that is none; or the file holds no readable frame.
        OSError: there is no connection, or no picture within `TIMEOUT_S`; the password is not in the message.
    """
    scheme, host, port = _parts(url)
    if scheme.startswith("rtsp"):
        os.environ.setdefault(FFMPEG_VARIABLE, "rtsp_transport;tcp")  # over UDP pictures break in any busy Wi-Fi
    import cv2

    timeout_ms = round(TIMEOUT_S * 1000)
    parameters = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    parameters += [cv2.CAP_PROP_N_THREADS, 1]  # each thread more delays H.264 by a frame: by 120 ms on four cores
    started_s = time.monotonic()
    opened = open_capture(url, cv2.CAP_FFMPEG, parameters)
    if not opened.isOpened():
        is_late = time.monotonic() - started_s >= TIMEOUT_S
        raise OSError(f"cannot open {hide_secrets(url)}: {_reason(host, port, is_late)}")
    capture = Capture(opened)
    if scheme.startswith("http") and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:  # a stream's is below zero
        try:
            return VideoFileSource(capture, hide_secrets(url), is_realtime)
        except ValueError as error:
            hint = "if it plays elsewhere, its server cannot jump in it: write it with `ffmpeg -movflags faststart`"
            raise ValueError(f"{error}; {hint}") from error
    return NetworkSource(capture, hide_secrets(url))


class NetworkSource(Source):
    """Reads the newest frames of a stream; their time is Unix time.

    Args:
        capture: the stream, which is open.
        name: what messages call it.

    Raises:
        OSError: it gives no picture.
    """

    is_live = True

    def __init__(self, capture: Capture, name: str) -> None:
        self._capture, self.name = capture, name
        image = capture.read()
        if image is None:
            capture.close()
            raise OSError(f"no picture from {name}: the server answers, but sends none that can be read")
        self._first = Frame(image, 0, time.time())
        self.frame_rate = frame_rate_of(capture)

    def __iter__(self) -> Iterator[Frame]:
        return live_frames(self._capture, self._first, f"{self.name} stopped giving pictures")

    def close(self) -> None:
        """Close the connection; waits for a read that is under way, `TIMEOUT_S` at most."""
        self._capture.close()


def hide_secrets(url: str) -> str:
    """Return a URL for people to read: *** for user and password, and for every value after it (token=...)."""
    start, separator, rest = url.partition("://")
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]  # the last: passwords hold an @, too
    return start + separator + re.sub(r"=[^&/?#]*", "=***", rest)


def _parts(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.hostname:
        raise ValueError(f"source {hide_secrets(url)} is no URL: allowed is such as rtsp://user:password@host:554/path")
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, PORTS[scheme] if port is None else port


def _reason(host: str, port: int, is_late: bool) -> str:
    """Find out why it did not open, which OpenCV keeps to itself."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError as error:
        return f"{host}:{port} cannot be reached ({error.strerror or error}); is it switched on, and is the name right?"
    if is_late:
        return f"{host}:{port} takes the connection, but says nothing for {TIMEOUT_S:g} s"
    return f"{host}:{port} answers, but not with a video: check path, user and password"
