"""The Raspberry Pi's camera through picamera2, which gives the small gray picture for the face detector for nothing."""

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from mien.config import Config
from mien.faces import Image
from mien.sources.base import Frame, Source, SourceLostError

logger = logging.getLogger(__name__)

INSTALL = "sudo apt install python3-picamera2, and make the virtual environment with --system-site-packages"
TIMEOUT_S = 5.0
BUFFERS = 4


def find_pi_camera() -> int:
    """Return the number of the first camera on the board's own connectors.

    Raises:
        ImportError: picamera2 is missing or broken.
        FileNotFoundError: there is no such camera.
    """
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise ImportError(f"picamera2 cannot be imported ({error}): {INSTALL}") from error
    except ValueError as error:  # Bookworm's simplejpeg is built for numpy 1
        raise ImportError(f"picamera2 does not fit the installed numpy ({error}): pip install 'mien[pi]'") from error
    for number, camera in enumerate(Picamera2.global_camera_info()):
        if "/usb" not in camera["Id"]:  # libcamera lists USB cameras, too; they are better off with V4L2
            return number
    raise FileNotFoundError("there is no Pi camera: check its cable, and `rpicam-hello --list-cameras`")


class PiCameraSource(Source):
    """Reads the newest frames of the Pi's camera, each with its luma; their time is Unix time.

    Args:
        config: size and rate that it is asked for, the longer side of the luma (`detect_side`), and whether the sensor
            is to mirror the picture and to turn it, by 0 or 180 degrees.
        timeout_s: without a frame for so long, and for three times what one takes, it is lost.

    Raises:
        ImportError, FileNotFoundError: as `find_pi_camera`.
        OSError: the camera does not open, or gives no picture.
    """

    is_live = True

    def __init__(self, config: Config, timeout_s: float = TIMEOUT_S) -> None:
        number = find_pi_camera()
        from picamera2 import Picamera2

        self.frame_rate = config.frame_rate
        self.name = f"picamera {Picamera2.global_camera_info()[number]['Id']}"
        self._timeout_s = max(timeout_s, 3 / config.frame_rate)  # a slow camera is not a lost one
        self._lock, self._is_closed = threading.Lock(), False
        try:
            self._camera = Picamera2(number)
        except RuntimeError as error:
            raise OSError(_cannot_open(error)) from error
        try:
            self._camera.configure(_configuration(self._camera, config))
            self._camera.start()
            self._luma_size: tuple[int, int] = self._camera.stream_configuration("lores")["size"]
            self._first = self._capture(0)
        except RuntimeError as error:
            self.close()
            raise OSError(_cannot_open(error)) from error
        except OSError:
            self.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        frame = self._first
        while frame is not None:
            yield frame
            frame = self._capture(frame.index + 1)

    def close(self) -> None:
        """Stop the camera and let go of it; waits for a capture that is under way, `timeout_s` at most."""
        self._is_closed = True
        with self._lock:
            try:
                self._camera.close()
            except RuntimeError as error:
                logger.warning("the Pi camera did not close: %s", _root(error))

    def _capture(self, index: int) -> Frame | None:
        """Return the next frame, or None if the camera is closed."""
        with self._lock:
            if self._is_closed:
                return None
            try:
                image, planes, sensor_ns = self._read()
            except TimeoutError as error:
                # Captures hang for ever now and then (picamera2#1392); closing would wait behind this one.
                self._camera.cancel_all_and_flush()
                raise SourceLostError(f"the Pi camera gave no picture for {self._timeout_s:g} s") from error
            except RuntimeError as error:
                raise SourceLostError(f"the Pi camera stopped: {_root(error)}") from error
        taken_s = _monotonic(sensor_ns)
        time_s = time.time() - (time.monotonic() - taken_s)
        return Frame(image, index, time_s, luma=_luma(planes, self._luma_size), taken_s=taken_s)

    def _read(self) -> tuple[Image, Image, int | None]:
        """Return a picture, the planes of the small one, and when the sensor took both."""
        request = self._camera.capture_request(wait=self._timeout_s)
        try:
            return (
                request.make_array("main"),
                request.make_array("lores"),
                request.get_metadata().get("SensorTimestamp"),
            )
        finally:
            request.release()


def _configuration(camera: Any, config: Config) -> dict[str, Any]:
    """Return picamera2's configuration: a colour picture, and a small one for the detector from the same exposure."""
    from libcamera import Transform

    width, height = (side - side % 2 for side in config.camera_size)
    is_upside_down = config.rotate == 180
    configuration: dict[str, Any] = camera.create_video_configuration(
        main={"size": (width, height), "format": "RGB888"},  # picamera2's name for bytes in the order B, G, R
        lores={"size": _small_size(width, height, config.detect_side), "format": "YUV420"},
        transform=Transform(hflip=config.mirror != is_upside_down, vflip=is_upside_down),
        buffer_count=BUFFERS,
        controls={"FrameRate": config.frame_rate},
    )
    return configuration


def _small_size(width: int, height: int, longer_side: int) -> tuple[int, int]:
    """Return the size with this longer side and the same view, in even numbers, never larger than the whole."""
    scale = min(1.0, longer_side / max(width, height))
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


def _luma(planes: Image, size: tuple[int, int]) -> Image:
    """Return the gray part, (height, width), of YUV420 planes, (1.5 * height, stride), without a copy.

    The brightness comes first; rows are as long as the hardware likes them.
    """
    width, height = size
    return planes[:height, :width]


def _monotonic(sensor_ns: int | None) -> float:
    """Return a sensor's time, in nanoseconds of CLOCK_BOOTTIME, in seconds of `time.monotonic`; None: now."""
    if sensor_ns is None:
        return time.monotonic()
    return sensor_ns / 1e9 - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())


def _cannot_open(error: BaseException) -> str:
    return f"the Pi camera does not open: {_root(error)}; is another program using it?"


def _root(error: BaseException) -> BaseException:
    """Return the first cause: picamera2 wraps it in "Camera __init__ sequence did not complete."."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
