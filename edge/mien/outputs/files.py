"""Files that appear whole or not at all: written beside their place and moved there when finished."""

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
    """Raise OSError if the folder of `path` does not exist or cannot be written to."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: no permission in the folder {path.parent}")
