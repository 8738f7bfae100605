"""Cameras: which there are, and whether the configured source gives a picture, as `mien run` would open it."""

import os
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mien import device
from mien.config import Config
from mien.device import ROOT
from mien.doctor import problems
from mien.doctor.check import OK, Check, from_error
from mien.doctor.child import CrashedError, HungError, ask
from mien.doctor.system import other_run
from mien.sources import camera
from mien.sources.network import hide_secrets

CAMERAS = ("auto", "picamera", "camera")

LIST_LIMIT_S = 20.0

FRAME_LIMIT_S = 25.0
"""OpenCV waits 10 s for a USB camera, picamera2's captures get 5 s; and a small board imports both for some seconds."""

BLACK_LEVEL = 8
"""A picture whose mean, from 0 to 255, lies below this is black: a night without a lamp has more noise."""

BRIGHTENING_S = 2.0
"""Cameras set their exposure anew when they are opened, and the first pictures may be dark."""


def check_cameras(config: Config, root: Path = ROOT) -> Iterator[Check]:
    """List the cameras, and tell what keeps them from being used."""
    found, closed = [], []
    for path, name in usb_cameras():
        found.append(f"{path} ({name})")
        if not os.access(path, os.R_OK | os.W_OK):
            closed.append(str(path))
    trouble: Check | None = None
    try:
        found = [*(f"picamera ({name})" for name in ask(list_pi_cameras, limit_s=LIST_LIMIT_S)), *found]
    except ModuleNotFoundError:
        trouble = _without_picamera2(root, config.source, bool(found))
    except (CrashedError, HungError) as error:
        trouble = problems.PICAMERA2_CRASHES.about("cameras", how=getattr(error, "how", str(error)))
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        trouble = from_error("cameras", error, problems.PICAMERA2_MISSING.fix, "warning")
    if closed:
        yield problems.CAMERA_CLOSED.about("cameras", devices=", ".join(closed))
    if trouble is not None:
        yield trouble
    if found or not (closed or trouble):
        yield Check("cameras", OK, ", ".join(found) or "none is connected")


def usb_cameras() -> list[tuple[Path, str]]:
    """Return (device, name) of each USB camera; those of a camera's devices that give no picture are left out."""
    try:
        paths = camera.candidate_paths("camera")
    except FileNotFoundError:
        return []
    names: dict[str, Path] = {}
    for path in paths:
        file = camera.SYSTEM / path.name / "name"
        names.setdefault(file.read_text().strip() if file.exists() else path.name, path)
    return [(path, name) for name, path in names.items()]


def list_pi_cameras() -> list[str]:
    """Return the sensors on the board's own connectors; in a process of its own.

    Raises:
        ModuleNotFoundError: there is no picamera2.
        ImportError: it is broken.
    """
    from mien.sources.picamera import find_pi_camera

    if find_spec("picamera2") is None:
        raise ModuleNotFoundError("no picamera2")
    try:
        number = find_pi_camera()
    except FileNotFoundError:
        return []
    from picamera2 import Picamera2

    return [str(Picamera2.global_camera_info()[number].get("Model", number))]


def check_frame(config: Config, root: Path = ROOT) -> Iterator[Check]:
    """Take a picture from the configured source."""
    source = hide_secrets(config.source)
    try:
        width, height, mean, name = ask(take_picture, config, limit_s=FRAME_LIMIT_S)
    except CrashedError as error:
        yield problems.CAMERA_CRASHES.about("picture", source=source, how=error.how)
    except HungError as error:
        yield _taken(root) or problems.CAMERA_HANGS.about("picture", source=source, seconds=f"{error.limit_s:g}")
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        if config.source == "auto" and isinstance(error, FileNotFoundError):
            yield problems.NO_CAMERA.about("picture")
        else:
            is_camera = config.source in CAMERAS or config.source.startswith("/dev/")
            yield (_taken(root) if is_camera else None) or from_error("picture", error, problems.CAMERA_HANGS.fix)
    else:
        if mean < BLACK_LEVEL:
            yield problems.PICTURE_BLACK.about("picture", source=name)
        else:
            yield Check("picture", OK, f"{width}x{height} from {name}")


def take_picture(config: Config) -> tuple[int, int, float, str]:
    """Return width, height and mean brightness of a picture, and the source's name; in a process of its own."""
    from mien.sources import open_source

    with open_source(config.source, config) as source:
        started_s = time.monotonic()
        for frame in source:
            mean = float(np.mean(frame.image))
            if mean >= BLACK_LEVEL or time.monotonic() - started_s > BRIGHTENING_S:
                break
        height, width = frame.image.shape[:2]
    return width, height, mean, source.name or hide_secrets(config.source)


def _taken(root: Path) -> Check | None:
    process = other_run(root)
    return None if process is None else problems.CAMERA_TAKEN.about("picture", process=process)


def _without_picamera2(root: Path, source: str, has_usb_camera: bool) -> Check | None:
    """Return what to do, on a Raspberry Pi whose camera may be the one on the board's own connector."""
    is_hidden = (root / "usr/lib/python3/dist-packages/picamera2").is_dir()
    if is_hidden and sys.prefix != sys.base_prefix:
        return problems.PICAMERA2_HIDDEN.about("cameras", folder=sys.prefix)
    is_pi = "Raspberry Pi" in (device.board_name(root) or "")
    if source == "picamera" or (source == "auto" and is_pi and not has_usb_camera):
        return problems.PICAMERA2_MISSING.about("cameras")
    return None
