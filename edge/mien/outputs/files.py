"""Where output files go: videos and sheets are written beside their place and moved there when whole."""

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

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


def cannot_write(path: Path, error: OSError) -> OSError:
    """Return the same error in one line that names the file."""
    return type(error)(f"cannot write {path}: {error.strerror or error}")


class RotatingFile:
    """A text file that is on its way to the disk after each piece; when it is full, it becomes NAME.1.

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
        self._path, self._most_bytes, self._head = path, most_mb * MEGABYTE, head.encode()
        self._file: FileIO | None = None
        self._size = 0

    def write(self, text: str) -> None:
        """Write whole lines, in one piece; on a full disk, either all of it or nothing.

        Raises:
            OSError: they cannot be written.
        """
        try:
            if self._file is None:
                self._file, self._size = FileIO(self._path, "w"), 0
                self._append(self._file, self._head)
            self._append(self._file, text.encode())
        except OSError as error:
            raise cannot_write(self._path, error) from error
        if self._most_bytes and self._size >= self._most_bytes:
            self.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, file: FileIO, data: bytes) -> None:
        try:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
        except OSError:
            with suppress(OSError):  # a pipe has no end to cut off
                file.truncate(self._size)
            raise
        self._size += len(data)
