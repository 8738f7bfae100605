"""Where output files go: videos and sheets are written beside their place and moved there when whole."""

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

MEGABYTE = 1_000_000
CHUNK_BYTES = 65536


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

    Nothing is created before the first piece is written. A file with a limit is a log: what an earlier run wrote there,
    which may have ended with a power cut, is gone on with, after its last whole line.

    Args:
        path: of the file; without a limit, one that exists is replaced.
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
                self._file = self._open()
            self._append(self._file, text.encode())
        except OSError as error:
            raise cannot_write(self._path, error) from error
        if self._most_bytes and self._size >= self._most_bytes:
            self.close()
            self._keep_former()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO:
        """Begin the file, or go on with an earlier run's, unless that has another head."""
        if self._most_bytes and self._path.is_file():
            file = FileIO(self._path, "r+")
            is_alike = file.read(len(self._head)) == self._head
            self._size = _end_of_lines(file)
            if is_alike and self._size:
                file.truncate(file.seek(self._size))
                return file
            file.close()
            if self._size:
                self._keep_former()
        file, self._size = FileIO(self._path, "w"), 0
        self._append(file, self._head)
        return file

    def _keep_former(self) -> None:
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))

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


def _end_of_lines(file: FileIO) -> int:
    """Return the size of a file without what follows its last line break."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - CHUNK_BYTES)
        file.seek(start)
        if (found := file.read(end - start).rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0
