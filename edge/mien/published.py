"""Models that others publish and that are not ours to ship: which they are, and where they lie on this machine."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.files import data_dir


@dataclass(frozen=True)
class Published:
    """A model as its project publishes it.

    Attributes:
        name: what `mien models fetch` takes.
        description: one line for `mien models`.
        url: of the file, in a version that never changes.
        file: name of the file on this machine.
        size_bytes: of the file.
        sha256: of the file, hexadecimal.
        licence: of the file, as an SPDX identifier.
        source: the project's page about it.
    """

    name: str
    description: str
    url: str
    file: str
    size_bytes: int
    sha256: str
    licence: str
    source: str


PUBLISHED = {
    "yunet": Published(
        name="yunet",
        description="face detector of OpenCV's model zoo",
        url="https://github.com/opencv/opencv_zoo/raw/82b38c8f98e7b52aa171400f3e4c722352d0669f/models/"
        "face_detection_yunet/face_detection_yunet_2023mar.onnx",
        file="face_detection_yunet_2023mar.onnx",
        size_bytes=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        licence="MIT",
        source="https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet",
    )
}


def find_published(name: str) -> Path | None:
    """Return where a model lies, by its size: the user's own one, else one for all users of this machine."""
    published = PUBLISHED[name]
    return next((path for path in _places(published) if _size(path) == published.size_bytes), None)


def find_damaged(name: str) -> Path | None:
    """Return where a file lies that is called like a model and has another size, such as a Git LFS pointer."""
    published = PUBLISHED[name]
    return next((path for path in _places(published) if _size(path) not in (None, published.size_bytes)), None)


def require_published(name: str) -> Path:
    """Return where a model lies, whole.

    Raises:
        FileNotFoundError: it is not here.
        ValueError: it is damaged.
    """
    published = PUBLISHED[name]
    path = find_published(name) or find_damaged(name)
    if path is None:
        raise FileNotFoundError(
            f"{name}'s model is not here: `mien models fetch {name}` brings it, or take --detector haar"
        )
    check(path, published)
    return path


def check(path: Path, published: Published) -> None:
    """Read a file and compare it with the published one.

    Raises:
        OSError: it cannot be read.
        ValueError: it is another one.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != published.sha256:
        raise ValueError(
            f"{path} is damaged ({len(content):,} bytes with sha256 {found}, expected {published.size_bytes:,} with "
            f"{published.sha256}): `mien models fetch {published.name}` brings it again"
        )


def is_whole(path: Path, published: Published) -> bool:
    """Return whether a file is there, can be read and is the published one."""
    try:
        check(path, published)
    except (OSError, ValueError):
        return False
    return True


def _places(published: Published) -> Iterator[Path]:
    """Yield where a model may lie, by the rules of the XDG base directories."""
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    for folder in (data_dir(), *(Path(text, "mien") for text in shared.split(":") if text)):
        yield folder / "models" / published.file


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None  # a folder of others that is closed to us is no reason to fail
