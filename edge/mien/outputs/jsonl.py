"""JSON lines: one object a frame, on standard output or in a file."""

import json
import sys
from pathlib import Path
from typing import TextIO

from mien.faces import FrameResult, Image
from mien.outputs.base import Output
from mien.outputs.files import check_writable


class JsonLinesOutput(Output):
    """Writes {"time", "frame", "faces": [{"id", "box", "label", "emotion", "confidence", "probabilities"}]} a frame.

    Each line is flushed, so that a reader at the other end of a pipe sees it at once and an
    interruption loses nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            check_writable(path)
        self._path = path
        self._file: TextIO | None = sys.stdout if path is None else None

    def write(self, image: Image, result: FrameResult) -> None:
        """Write the frame's line; the first one opens the file."""
        if self._file is None:
            assert self._path is not None
            self._file = open(self._path, "w", encoding="utf-8")
        self._file.write(json.dumps(result.to_dict()) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._file is not None and self._file is not sys.stdout:
            self._file.close()
