"""mien's own face finder: a small int8 TFLite network, in the runtime of the classifier."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.detectors.base import cut_region, shrink
from mien.face_maps import Found, decode, overlaps, suppress
from mien.faces import Box, Image, LeaningBox
from mien.finder_card import FINDER_FILE, Framing, read_finder
from mien.interpreter import TFLiteMaps
from mien.preprocess import check_frame, to_gray

REGION = 96
"""A known face and its surroundings are scaled to a square of so many pixels."""

REGION_SIZES = (0.6, 1.6)
"""Smallest and largest size of a known face, as a multiple of the last one."""

NEW_ODDS = 3.0
"""What is not known needs so many times the odds of what is, to be followed: a video shows it again and again, and one
look in many errs."""

KNOWN_SHARE = 0.8
"""A known face may become smaller than the smallest by so much before it is lost, or it would flicker."""

MOST_ROLL_DEGREES = 45.0
"""What the landmarks tell is held within; the finder learnt from heads that lean up to 30 degrees."""


USUAL_SIDE, MOST_SIDE = 320, 400
"""A picture with a longer side than the second is searched with one of the first, too: the network learnt from views of
256 pixels, and does not know larger faces."""

WIDEST, MOST_WIDENED = 3.0, 8.0
"""A panorama, whose sides have a larger ratio, is searched in more pixels: in so many times the side at most."""

LIKELY = 0.25
"""From this score on a place in the whole picture is looked at once more."""

MOST_LOOKS = 200
"""So many places at most, the likeliest; the score of the others is that of the first look."""

SECOND_REACH = 0.5
"""The second look shows so much around a place, in its sizes."""

SAME_PLACE = 0.4
"""The second look means the same face if its box overlaps the first one's by more (intersection over union)."""

UNSEEN = 0.01
"""Score of what the second look does not show, and least score that it is asked for."""


class FaceNetwork:
    """A face finder's file, in an interpreter for each size of picture: another size would be set up anew each time.

    Args:
        content: of the file.
        overlap: of two boxes that overlap by more (intersection over union), the likelier stays.
        num_threads, runtime: as for `mien.interpreter.TFLiteMaps`.

    Raises:
        ValueError, ImportError: as `mien.interpreter.TFLiteMaps`.
    """

    def __init__(self, content: bytes, overlap: float, num_threads: int = 1, runtime: str | None = None) -> None:
        self._overlap = overlap
        self.maps = lru_cache(maxsize=6)(lambda shape: TFLiteMaps(content, shape, num_threads, runtime))
        self._room = lru_cache(maxsize=6)(lambda shape: np.zeros(shape, np.uint8))
        self.runtime = self.maps((REGION, REGION)).runtime  # what cannot run is told at once

    def search(self, picture: Image, min_score: float, shape: tuple[int, int]) -> Found:
        """Search a picture as it is, in the top left corner of a black one of a shape of multiples of a cell."""
        return suppress(self._decode(picture, min_score, shape), self._overlap)

    def _decode(self, picture: Image, min_score: float, shape: tuple[int, int]) -> Found:
        """Return what `search` finds, where one face may be there several times."""
        height, width = picture.shape
        if shape != picture.shape:
            room = self._room(shape)
            room.fill(0)
            room[:height, :width] = picture
            picture = room
        return decode(self.maps(shape).run(picture), min_score)

    def merge(self, parts: Sequence[Found]) -> Found:
        """Return what was found in several searches, each face once, the likeliest first."""
        found = Found(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
        return suppress(found.take(np.argsort(-found.scores, kind="stable")), self._overlap)

    def look_again(self, picture: Image, found: Found) -> Found:
        """Return the same faces with scores and landmarks of two looks, the likeliest first.

        Each likely place is cut out with its surroundings, scaled to one size, and searched alone; its score becomes
        the mean of both looks, as logits, and so do its landmarks. Two looks at different sizes agree on faces more
        often than on what looks like one: docs/experiments.md has the measurement.

        Args:
            picture: (H, W) uint8, the frame at its full resolution.
            found: what a search of the whole picture found, in its pixels.
        """
        second = np.full(len(found.scores), UNSEEN, np.float32)
        landmarks = found.landmarks.copy()
        likely = np.flatnonzero(found.scores >= LIKELY)
        second[likely[MOST_LOOKS:]] = found.scores[likely[MOST_LOOKS:]]
        for row in likely[:MOST_LOOKS]:
            box = Box(*found.boxes[row].round().astype(int).tolist())
            region, left, top, scale = cut_region(picture, box, SECOND_REACH, int(REGION / (1 + 2 * SECOND_REACH)))
            seen = placed(self._decode(region[:REGION, :REGION], UNSEEN, (REGION, REGION)), 1 / scale, left, top)
            is_same = overlaps(found.boxes[row : row + 1], seen.boxes)[0] > SAME_PLACE
            if is_same.any():  # the first is the likeliest
                second[row] = seen.scores[is_same.argmax()]
                landmarks[row] = (landmarks[row] + seen.landmarks[is_same.argmax()]) / 2
        scores = 1 / (1 + np.sqrt((1 / found.scores - 1) * (1 / second - 1)))
        faces = Found(found.boxes, landmarks, scores.astype(np.float32))
        return faces.take(np.argsort(-scores, kind="stable"))


class FinderDetector:
    """The face finder (docs/decisions/0012-face-finder.md): sees spectacles, turned and leaning heads.

    The whole frame is one step of a search: it costs little more than a strip would. Likely places are looked at twice
    (`FaceNetwork.look_again`). A known face is searched in its region at the frame's full resolution.
    docs/detection.md has measurements.

    Args:
        model: path of the `.tflite` file, with its card beside it.
        max_side: the frame is shrunk until its longer side has at most this many pixels.
        min_face: smallest face, as a fraction of the frame's shorter side.
        num_threads: of the interpreter.
        runtime: a key of `mien.interpreter.RUNTIMES`; None takes the first that is installed.

    Attributes:
        card: the finder's card.
        max_side: may be changed between two frames.

    Raises:
        FileNotFoundError: the file or its card is missing.
        ValueError: an argument is out of range, or the file is damaged.
        ImportError: no TFLite runtime is installed, or the installed one cannot work.
    """

    name = "finder"
    problem = ""
    takes_frame = True  # far faces are searched in all their pixels

    def __init__(
        self,
        model: Path = FINDER_FILE,
        max_side: int = 320,
        min_face: float = 0.03,
        num_threads: int = 1,
        runtime: str | None = None,
    ) -> None:
        if max_side < 40 or not 0 < min_face <= 1:
            raise ValueError(f"max_side {max_side}, min_face {min_face}: allowed are 40 or more, above 0 up to 1")
        content, self.card = read_finder(model)
        self.max_side, self._min_face = max_side, min_face
        self._network = FaceNetwork(content, self.card.overlap, num_threads, runtime)
        strides = self._network.maps((REGION, REGION)).strides
        if strides != self.card.strides:
            raise ValueError(
                f"{model}: its card says strides {self.card.strides}, the file has {strides}: convert it again"
            )
        self.runtime = self._network.runtime

    def detect(self, picture: Image) -> list[Box]:
        """Return the boxes of the faces in (H, W) or (H, W, 3) uint8, in its pixels, largest first.

        Boxes are framed like FER2013's images, and know how far the head leans.
        """
        found = self.find(picture, self.card.score_threshold)
        boxes = self._frame(found, picture.shape, self._min_face * min(picture.shape[:2]))
        return sorted(boxes, key=lambda box: box.area, reverse=True)

    def count_steps(self, shape: tuple[int, int]) -> int:
        """Return in how many steps a frame of (height, width) is searched: one."""
        return 1

    def detect_step(self, picture: Image, step: int) -> list[Box]:
        """Return where faces may be in the whole frame."""
        return self.detect(picture)

    def detect_near(self, picture: Image, box: Box, reach: float, is_known: bool) -> list[Box]:
        """Return faces of about a box's size near it, the likeliest first."""
        check_frame(picture)
        region, left, top, scale = cut_region(picture, box, reach, int(REGION / (1 + 2 * reach)), in_gray=True)
        known = self.card.known_threshold
        threshold = known if is_known else NEW_ODDS * known / (1 - known + NEW_ODDS * known)
        found = self._network.search(region[:REGION, :REGION], threshold, (REGION, REGION))
        smallest, largest = (max(box.width, box.height, 1) * size for size in REGION_SIZES)
        smallest = max(smallest, (KNOWN_SHARE if is_known else 1) * self._min_face * min(picture.shape[:2]))
        found = placed(found, 1 / scale, left, top)
        return [one for one in self._frame(found, picture.shape, smallest) if one.width <= largest]

    def find(self, picture: Image, min_score: float) -> Found:
        """Return the faces in a picture as the network sees them, in pixels of the picture, the likeliest first."""
        picture = to_gray(picture)
        cell, found = self.card.strides[-1], []
        is_large = min(self.max_side, max(picture.shape)) > MOST_SIDE
        widened = min(max(1.0, max(picture.shape) / min(picture.shape) / WIDEST), MOST_WIDENED)
        for side in (self.max_side, USUAL_SIDE) if is_large else (self.max_side,):
            small, scale = shrink(picture, round(side * widened))
            height, width = (-(-length // cell) * cell for length in small.shape)
            first = self._network.search(small, min(min_score, LIKELY), (height, width))
            found.append(placed(first, 1 / scale, 0, 0))
        faces = self._network.look_again(picture, self._network.merge(found) if len(found) > 1 else found[0])
        return faces.take(faces.scores >= min_score)

    def _frame(self, found: Found, shape: tuple[int, ...], smallest: float) -> list[Box]:
        """Return the boxes of faces that are large enough and whose middle lies in the picture."""
        squares, rolls = frame(found, self.card.framing)
        middles = squares[:, :2] + squares[:, 2:] / 2
        is_in = ((middles >= 0) & (middles < (shape[1], shape[0]))).all(axis=1)
        is_in &= (squares[:, 2] >= smallest) & (squares[:, 2] <= 2 * max(shape))
        return [
            LeaningBox.leaning(Box(round(x), round(y), round(side), round(side)), roll)
            for (x, y, side), roll in zip(squares[is_in].tolist(), rolls[is_in].tolist(), strict=True)
        ]


def placed(found: Found, scale: float, left: int, top: int) -> Found:
    """Return faces of a part of a picture in pixels of the picture."""
    corner, grow = np.array([left, top], np.float32), np.float32(scale)
    boxes = np.concatenate([found.boxes[:, :2] * grow + corner, found.boxes[:, 2:] * grow], axis=1)
    return Found(boxes, found.landmarks * grow + corner, found.scores)


def frame(found: Found, framing: Framing) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return faces as squares framed like FER2013's images.

    Args:
        found: N faces.
        framing: from the card.

    Returns:
        (N, 3) float32: left, top and side of the upright square; (N,) float32: degrees that the head leans, clockwise.
    """
    middles, up = heads(found)
    root = np.sqrt(np.maximum(found.boxes[:, 2] * found.boxes[:, 3], 0))
    middles = middles + framing.rise * root[:, None] * up
    sides = framing.side * root
    squares = np.column_stack([middles - sides[:, None] / 2, sides])
    return squares.astype(np.float32), np.degrees(np.arctan2(up[:, 0], -up[:, 1])).astype(np.float32)


def heads(found: Found) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the middle of eyes and corners of the mouth, and the unit vector to the top of the head, (N, 2) each."""
    eyes, mouth = found.landmarks[:, :2], found.landmarks[:, 3:]
    across = eyes[:, 1] - eyes[:, 0]
    down = mouth.mean(axis=1) - eyes.mean(axis=1)
    # In a profile the eyes lie in one place, and the way to the mouth tells more: the longer of both counts more.
    x, y = across[:, 0] + down[:, 1], across[:, 1] - down[:, 0]
    most = np.radians(MOST_ROLL_DEGREES)
    rolls = np.clip(np.arctan2(y, x), -most, most)
    return (eyes.mean(axis=1) + mouth.mean(axis=1)) / 2, np.stack([np.sin(rolls), -np.cos(rolls)], axis=1)
