"""Where output files go: videos and sheets are written beside their place and moved there when whole."""

import os
from pathlib import Path
from typing import TextIO

MEGABYTE = 1_000_000


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


class RotatingFile:
    """A text file that is flushed after each piece; when it is full, it becomes NAME.1 and a new one is begun.

    Nothing is created before the first piece is written.

    Args:
        path: of the file; one that exists is replaced.
        most_mb: its size; 0: no limit.
        head: what each file begins with.

    Raises:
        OSError: as `check_writable`.
    """

    def __init__(self, path: Path, most_mb: float, head: str = "") -> None:
        check_writable(path)
        self._path, self._most_bytes, self._head = path, most_mb * MEGABYTE, head
        self._file: TextIO | None = None

    def write(self, text: str) -> None:
        """Write whole lines, in one piece."""
        if self._file is None:
            self._open()
        assert self._file is not None
        self._file.write(text)
        self._file.flush()
        if self._most_bytes and self._file.tell() >= self._most_bytes:
            self.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self._file = open(self._path, "w", encoding="utf-8")
        self._file.write(self._head)
