"""Where frames come from; `open_source` finds the right one for what `--source` was given.

A new source is one new file with one class, and one line in `open_source`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mien.config import Config
from mien.health import Health
from mien.sources.base import Frame, Source, SourceLostError
from mien.sources.turned import turned

__all__ = ["FORMS", "Frame", "Source", "SourceLostError", "open_source"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm")
FORMS = (
    "auto (Pi camera, else USB camera), picamera, camera (the first USB camera), a device such as /dev/video0, "
    "a URL (rtsp://, rtsps://, http://, https://), a video or image file, a folder of images, or demo"
)
DEFAULTS = Config()
DEMO_CLIP = Path(__file__).parent.parent / "demo" / "demo.mp4"


def open_source(text: str, config: Config = DEFAULTS, health: Health | None = None) -> Source:
    """Open what `--source` was given; `FORMS` says what is allowed.

    Cameras and streams that are lost later are looked for until they are back.

    Args:
        text: what to open.
        config: size, rate and direction of the pictures.
        health: told when a camera or stream is lost and when it is back.

    Raises:
        FileNotFoundError: there is no such file, folder or camera.
        ValueError: it holds no readable frame, or is a URL with a mistake.
        ImportError: "picamera" was given, and picamera2 is missing.
        OSError: a camera or stream does not open.
    """
    # Each class is imported when it is needed: a device pays only for the source that it uses.
    from mien.sources.network import is_url

    if text == "picamera":
        return _kept_open(lambda: _open_pi_camera(config), config, health)
    if text == "auto":
        return _kept_open(lambda: _open_any_camera(config), config, health)
    if text == "camera" or text.startswith("/dev/"):
        return _kept_open(lambda: _open_camera(text, config), config, health)
    if is_url(text):
        return _open_url(text, config, health)
    return turned(_open_file(text, config), config.rotate, config.mirror)


def _kept_open(open_: Callable[[], Source], config: Config, health: Health | None) -> Source:
    from mien.sources.reconnecting import Patience, ReconnectingSource

    no_frame_s = max(Patience().no_frame_s, 3 / config.frame_rate)  # a slow camera is not a lost one
    return ReconnectingSource(open_, health, patience=Patience(no_frame_s=no_frame_s))


def _open_url(url: str, config: Config, health: Health | None) -> Source:
    """Open a stream, which may be lost and come back, or a file, which has an end."""
    from mien.sources.network import NetworkSource, open_network
    from mien.sources.reconnecting import ReconnectingSource

    def open_stream(first: Source | None = None) -> Source:
        return turned(first or open_network(url, config.realtime), config.rotate, config.mirror)

    first = open_network(url, config.realtime)
    is_stream = isinstance(first, NetworkSource)
    return ReconnectingSource(open_stream, health, open_stream(first)) if is_stream else open_stream(first)


def _open_pi_camera(config: Config) -> Source:
    from mien.sources.picamera import PiCameraSource

    if config.rotate in (0, 180):  # which the sensor does for nothing
        return PiCameraSource(config)
    return turned(PiCameraSource(replace(config, rotate=0, mirror=False)), config.rotate, config.mirror)


def _open_camera(device: str, config: Config) -> Source:
    from mien.sources.camera import CameraSource

    return turned(CameraSource(device, config), config.rotate, config.mirror)


def _open_any_camera(config: Config) -> Source:
    from mien.sources.picamera import find_pi_camera

    try:
        find_pi_camera()
    except (ImportError, FileNotFoundError) as no_pi_camera:
        try:
            return _open_camera("camera", config)
        except FileNotFoundError as no_camera:
            raise FileNotFoundError(f"found no camera: {no_pi_camera}; {no_camera}") from no_camera
    return _open_pi_camera(config)


def _open_file(text: str, config: Config) -> Source:
    path = DEMO_CLIP if text == "demo" else Path(text)
    if not path.exists():
        raise FileNotFoundError(f"source {text!r} does not exist: allowed are {FORMS}")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        from mien.sources.images import ImageSource

        return ImageSource(path, IMAGE_SUFFIXES)
    from mien.sources.capture import Capture, open_capture
    from mien.sources.video_file import VideoFileSource

    # FFmpeg takes the 12 of 12:30.mp4 for a protocol.
    return VideoFileSource(Capture(open_capture(str(path.resolve()))), str(path), config.realtime)
