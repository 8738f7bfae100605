"""A table: one row a face and frame, for spreadsheets."""

import csv
import io
from pathlib import Path

from mien.emotions import EMOTIONS
from mien.faces import FrameResult, Image
from mien.outputs.base import Output
from mien.outputs.files import RotatingFile

COLUMNS = ("time", "frame", "file", "id", "x", "y", "width", "height", "label", "emotion", "confidence", *EMOTIONS)


class CsvOutput(Output):
    """Writes a row for each face; a frame without a face has none.

    Args:
        path: of the file.
        most_mb: a file of this size becomes NAME.1, and a new one is begun; 0: never.
    """

    queue_size = 100
    is_record = True

    def __init__(self, path: Path, most_mb: float = 0) -> None:
        self._file = RotatingFile(path, most_mb, _line(COLUMNS))

    def write(self, image: Image, result: FrameResult) -> None:
        """Write the rows of a frame; the first one opens the file."""
        rows = []
        for face in result.faces:
            place = (round(result.time_s, 3), result.frame, result.name, face.track_id, *face.box)
            values = (round(float(value), 4) for value in face.probabilities)
            rows.append(_line((*place, face.label, face.emotion, round(face.confidence, 4), *values)))
        self._file.write("".join(rows))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _line(cells: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
