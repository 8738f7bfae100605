"""A whole run at a glance: twelve annotated frames, evenly spread, in one PNG."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.faces import FrameResult, Image
from mien.files import write_whole
from mien.outputs.base import Output
from mien.outputs.blur import blur_faces, places_of_faces
from mien.outputs.draw import annotate
from mien.outputs.files import cannot_write, check_writable
from mien.outputs.text import clock

COLUMNS, ROWS = 4, 3
TILE_WIDTH = 320


class ContactSheetOutput(Output):
    """Keeps frames at even distances, however long the run is, and writes them at its end.

    Raises:
        OSError: the folder does not exist or cannot be written to.
    """

    is_record = True
    queue_size = 2

    def __init__(self, path: Path, is_blurred: bool = False) -> None:
        check_writable(path)
        self._path, self._is_blurred = path, is_blurred
        self._tiles: list[Image] = []
        self._step, self._count = 1, 0
        self._tile_size = (TILE_WIDTH, TILE_WIDTH)

    def write(self, image: Image, result: FrameResult) -> None:
        """Keep every `step`-th frame; when twice as many as needed are kept, drop every second."""
        if self._count % self._step == 0:
            if not self._tiles:
                self._tile_size = (TILE_WIDTH, max(1, round(image.shape[0] * TILE_WIDTH / image.shape[1])))
            self._tiles.append(self._make_tile(image, result))
            if len(self._tiles) == 4 * COLUMNS * ROWS:
                self._tiles = self._tiles[::2]
                self._step *= 2
        self._count += 1

    def close(self) -> None:
        """Write the sheet; a run without a frame writes none."""
        import cv2

        if not self._tiles:
            return
        wanted = min(COLUMNS * ROWS, len(self._tiles))
        chosen = [self._tiles[round(place)] for place in np.linspace(0, len(self._tiles) - 1, wanted)]
        blank = np.zeros_like(chosen[0])
        chosen += [blank] * (-len(chosen) % COLUMNS)
        rows = [np.hstack(chosen[start : start + COLUMNS]) for start in range(0, len(chosen), COLUMNS)]
        # Not `imwrite`, which does not notice when the disk is too full for the last few kilobytes.
        is_encoded, png = cv2.imencode(".png", np.vstack(rows))
        assert is_encoded
        try:
            write_whole(self._path, lambda unfinished: unfinished.write_bytes(png.tobytes()))
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def _make_tile(self, image: Image, result: FrameResult) -> Image:
        """Shrink the image first, so that lines and letters keep their size."""
        import cv2

        shown = blur_faces(image, places_of_faces(result)) if self._is_blurred else image
        small = cv2.resize(shown, self._tile_size, interpolation=cv2.INTER_AREA)
        scale_x, scale_y = self._tile_size[0] / image.shape[1], self._tile_size[1] / image.shape[0]
        tile = annotate(small, [replace(face, box=face.box.scaled(scale_x, scale_y)) for face in result.faces])
        place, font = (6, self._tile_size[1] - 8), cv2.FONT_HERSHEY_SIMPLEX
        text = result.name or (f"{result.time_s:.1f} s" if result.taken_s is None else clock(result.time_s))
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):  # white with a black edge
            cv2.putText(tile, text, place, font, 0.5, color, thickness, cv2.LINE_AA)
        return tile
