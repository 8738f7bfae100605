"""Where output files go: videos and sheets are written beside their place and moved there when whole."""

import os
from pathlib import Path


def unfinished(path: Path) -> Path:
    """Return where to write before `path` exists; keeps the suffix, which tells OpenCV the format.

    Raises:
        OSError: as `check_writable`.
    """
    check_writable(path)
    return path.with_name(f".unfinished-{path.name}")


def check_writable(path: Path) -> None:
    """Raise OSError if `path` is a folder, or its folder does not exist or cannot be written to."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; give another name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: no permission in the folder {path.parent}")
