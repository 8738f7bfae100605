"""OpenCV's small neural face detector, whose model `mien models fetch yunet` brings."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.detectors.base import cut_region, shrink, small_size
from mien.faces import Box, Image

MIN_SCORE = 0.6
KNOWN_MIN_SCORE = 0.4
"""Where a face was in the last frame, less evidence is enough."""

SAME_FACE = 0.3
"""Of two boxes that overlap more than this (intersection over union), one goes."""

MOST_FACES = 500

REGION_SIZES = (0.6, 1.6)
"""Smallest and largest size of a known face, as a multiple of the last one."""

REGION = 96
"""A known face and its surroundings are scaled to a square of so many pixels: one size, which is set up once."""

TILE_SHARE = 0.625
"""Width and height of a tile, of those of the frame; four overlap so that a face of a quarter fits into one."""

HAAR_SIDE, HAAR_RISE = 1.08, 0.082
"""What turns YuNet's box into one of OpenCV's frontal cascades, on which the networks were trained: its side is so many
times the root of the area, its centre so far (times that root) above the middle between eyes and mouth. Fitted on 89
faces of photographs that both find; the boxes then overlap by 0.90 (median)."""


class YuNetDetector:
    """YuNet (Wu, Peng and Yu 2023, *YuNet: A Tiny Millisecond-level Face Detector*), run by OpenCV.

    Sees turned, leaning and partly hidden faces, and those with spectacles, which Haar cascades miss.
    docs/detection.md has measurements.

    Args:
        model: path of the `.onnx` file.
        max_side: the frame is shrunk until its longer side has at most this many pixels.
        min_face: smallest face, as a fraction of the frame's shorter side.

    Attributes:
        max_side: may be changed between two frames.

    Raises:
        ValueError: an argument is out of range, or the file is no model of it.
        ImportError: this OpenCV has no YuNet.
    """

    name = "yunet"
    problem = ""
    takes_frame = True

    def __init__(self, model: Path, max_side: int = 320, min_face: float = 0.03) -> None:
        import cv2

        if max_side < 40 or not 0 < min_face <= 1:
            raise ValueError(f"max_side {max_side}, min_face {min_face}: allowed are 40 or more, above 0 up to 1")
        if not hasattr(cv2, "FaceDetectorYN"):
            raise ImportError(f"OpenCV {cv2.__version__} has no YuNet: pip install 'opencv-python>=4.8,<5'")
        self._model, self.max_side, self._min_face = model, max_side, min_face
        self._network = lru_cache(maxsize=16)(self._make_network)
        self._region = np.zeros((REGION, REGION, 3), np.uint8)
        self._network(REGION, REGION)  # a damaged file is told at once

    def detect(self, picture: Image) -> list[Box]:
        """Return the boxes of the faces in (H, W, 3) BGR or (H, W) uint8, in its pixels, largest first.

        Boxes are framed like those of OpenCV's frontal cascades.
        """
        small, scale = shrink(picture, self.max_side)
        boxes = [box.scaled(1 / scale, 1 / scale) for box in self._search(small, MIN_SCORE, self._smallest(small))]
        return sorted(boxes, key=lambda box: box.area, reverse=True)

    def count_steps(self, shape: tuple[int, int]) -> int:
        """Return in how many steps a frame of (height, width) is searched."""
        return 1 + len(_tiles(small_size(shape, self.max_side)))

    def detect_step(self, picture: Image, step: int) -> list[Box]:
        """Return where faces may be, in one step of the search: large ones in all of it, or smaller ones in a tile."""
        small, scale = shrink(picture, self.max_side)
        left = top = 0
        if step == 0:
            small, factor = shrink(small, self.max_side // 2)
            part, scale = small, scale * factor
        else:
            left, top, right, bottom = _tiles(small.shape[:2])[step - 1]
            part = small[top:bottom, left:right]
        found = self._search(part, MIN_SCORE, self._smallest(small))
        return [box._replace(x=box.x + left, y=box.y + top).scaled(1 / scale, 1 / scale) for box in found]

    def detect_near(self, picture: Image, box: Box, reach: float, is_known: bool) -> list[Box]:
        """Return faces of about a box's size near it, the likeliest first."""
        face = int(REGION / (1 + 2 * reach))
        region, left, top, scale = cut_region(picture, box, reach, face)
        height, width = region.shape[:2]
        self._region.fill(0)
        self._region[:height, :width] = _to_color(region[:REGION, :REGION])
        smallest, largest = (face * size for size in REGION_SIZES)
        found = self._find(self._region, KNOWN_MIN_SCORE if is_known else MIN_SCORE)
        return [
            Box(round(x / scale + left), round(y / scale + top), round(side / scale), round(side / scale))
            for x, y, side in found
            if smallest <= side <= largest
        ]

    def _smallest(self, picture: Image) -> float:
        return self._min_face * min(picture.shape[:2])

    def _search(self, picture: Image, min_score: float, smallest: float) -> list[Box]:
        found = self._find(_to_color(picture), min_score)
        return [Box(round(x), round(y), round(side), round(side)) for x, y, side in found if side >= smallest]

    def _find(self, picture: Image, min_score: float) -> npt.NDArray[np.float32]:
        """Return (left, top, side) of each face, (N, 3) float32, likeliest first, framed like Haar's."""
        height, width = picture.shape[:2]
        network = self._network(width, height)
        network.setScoreThreshold(min_score)
        _, rows = network.detect(picture)
        if rows is None:
            return np.empty((0, 3), np.float32)
        found = _frame_like_haar(rows[np.isfinite(rows).all(axis=1)])  # noise can make it answer infinities
        middle = found[:, :2] + found[:, 2:] / 2
        return found[((middle >= 0) & (middle < (width, height))).all(axis=1)]  # of others, most lies outside

    def _make_network(self, width: int, height: int) -> Any:
        """Return a network for one size of input: another size would be set up anew each time."""
        import cv2

        try:
            return cv2.FaceDetectorYN.create(str(self._model), "", (width, height), MIN_SCORE, SAME_FACE, MOST_FACES)
        except cv2.error as error:
            raise ValueError(
                f"OpenCV {cv2.__version__} cannot load {self._model}: it wants OpenCV 4.8 or newer, and the file that "
                "`mien models fetch yunet` brings"
            ) from error


def _to_color(picture: Image) -> Image:
    """Give a gray picture the three channels that the network wants."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., np.newaxis], 3, axis=2)


def _frame_like_haar(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turn YuNet's (N, 15) rows, sorted by score, into (left, top, side).

    A row has a box (x, y, width, height), eyes, nose and corners of the mouth (x, y each), and the score.
    """
    root = np.sqrt(rows[:, 2] * rows[:, 3])
    middle = (rows[:, 4:6] + rows[:, 6:8] + rows[:, 10:12] + rows[:, 12:14]) / 4
    side = HAAR_SIDE * root
    left, top = middle[:, 0] - side / 2, middle[:, 1] - HAAR_RISE * root - side / 2
    return np.column_stack((left, top, side))


def _tiles(shape: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Return (left, top, right, bottom) of four tiles that overlap, for a frame of (height, width)."""
    height, width = shape
    tile_height, tile_width = round(TILE_SHARE * height), round(TILE_SHARE * width)
    return [
        (left, top, left + tile_width, top + tile_height)
        for top in (0, height - tile_height)
        for left in (0, width - tile_width)
    ]
