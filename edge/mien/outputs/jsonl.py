"""JSON lines: one object a frame, on standard output or in a file."""

import json
import sys
from pathlib import Path

from mien.faces import FrameResult, Image
from mien.outputs.base import Output
from mien.outputs.files import RotatingFile


class JsonLinesOutput(Output):
    """Writes {"time", "frame", "faces": [{"id", "box", "label", "emotion", "confidence", "probabilities"}]} a frame.

    Each line is flushed, so that a reader at the other end of a pipe sees it at once and an
    interruption loses nothing.

    Args:
        path: None for standard output.
        most_mb: a file of this size becomes NAME.1, and a new one is begun; 0: never.

    Raises:
        OSError: standard output is closed, or the file cannot be written.
    """

    queue_size = 100
    is_record = True

    def __init__(self, path: Path | None = None, most_mb: float = 0) -> None:
        if path is None and sys.stdout is None:
            raise OSError("standard output is closed: give jsonl a file, such as --output faces.jsonl")
        self._file = None if path is None else RotatingFile(path, most_mb)

    def write(self, image: Image, result: FrameResult) -> None:
        """Write the frame's line; the first one opens the file."""
        line = json.dumps(result.to_dict()) + "\n"
        if self._file is None:
            sys.stdout.write(line)
            sys.stdout.flush()
        else:
            self._file.write(line)

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._file is not None:
            self._file.close()
