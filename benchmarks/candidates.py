"""The face detectors that benchmarks compare, and how each is made for a number of threads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mien.detectors import FaceDetector, HaarDetector, open_detector
from mien.detectors.base import shrink
from mien.detectors.finder import FinderDetector
from mien.detectors.haar import load_cascade
from mien.detectors.yunet import MIN_SCORE, SAME_FACE
from mien.face_maps import Found
from mien.faces import Box, Image
from mien.published import find_published

CASCADES = ("frontalface_default", "frontalface_alt", "frontalface_alt2")
SIDES = (640, 320)

BASELINE = "frontalface_default, 320 pixels"
"""With whose time the others are compared: what tutorials take, in as many pixels as `mien run`."""

NO_YUNET = "its model is not here: `mien models fetch yunet` brings it"

NotMeasured = dict[str, str]
"""{"peer": name, "why": one line}."""


@dataclass(frozen=True)
class Candidate:
    """A detector to measure.

    Attributes:
        name: of its row.
        open: makes it for a number of threads, in which OpenCV's own follow `cv2.setNumThreads`.
        is_live: whether it is meant for the frames of a camera, not for photographs.
        is_ours: whether what it misses is worth a look.
    """

    name: str
    open: Callable[[int], FaceDetector]
    is_live: bool = False
    is_ours: bool = False


class RawDetector(Protocol):
    """Finds faces as its network frames them, with scores."""

    def find(self, picture: Image, min_score: float) -> Found:
        """Return what reaches a score, in pixels of a (H, W) or (H, W, 3) uint8 picture."""
        ...


@dataclass(frozen=True)
class RawCandidate:
    """A detector whose own boxes and scores are judged.

    Attributes:
        name: of its row.
        detector: what finds.
        min_score: from which on it takes something for a face.
    """

    name: str
    detector: RawDetector
    min_score: float


class PlainCascade:
    """One of OpenCV's cascades with the arguments that tutorials give it.

    Args:
        name: of the cascade.
        max_side: the picture is shrunk until its longer side has at most this many pixels.
    """

    takes_frame = False

    def __init__(self, name: str, max_side: int) -> None:
        self._cascade, self._max_side = load_cascade(name), max_side

    def detect(self, picture: Image) -> list[Box]:
        """Return the boxes of the faces in (H, W) uint8, in its pixels."""
        small, scale = shrink(picture, self._max_side)
        found = self._cascade.detectMultiScale(small, scaleFactor=1.1, minNeighbors=5)
        return [Box(*map(int, box)).scaled(1 / scale, 1 / scale) for box in found]


class RawYuNet:
    """YuNet's own boxes, of a whole frame.

    Args:
        model: path of the `.onnx` file.
        max_side: the picture is shrunk until its longer side has at most this many pixels.
    """

    def __init__(self, model: Path, max_side: int = 320) -> None:
        import cv2

        self._max_side = max_side
        self._network = cv2.FaceDetectorYN.create(str(model), "", (max_side, max_side), 0.5, SAME_FACE)

    def find(self, picture: Image, min_score: float) -> Found:
        """Return what reaches a score, in pixels of a (H, W) or (H, W, 3) uint8 picture, the likeliest first."""
        import cv2

        small, scale = shrink(picture, self._max_side)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        self._network.setScoreThreshold(min_score)
        answer: Any = self._network.detect(small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2BGR))
        rows: npt.NDArray[np.float32] = np.empty((0, 15), np.float32) if answer[1] is None else answer[1]
        rows = rows[np.isfinite(rows).all(axis=1)]
        rows = rows[np.argsort(-rows[:, 14], kind="stable")]
        places = rows[:, :14] / np.float32(scale)
        return Found(places[:, :4], places[:, 4:].reshape(-1, 5, 2), rows[:, 14])


def boxes_of(found: Found) -> list[Box]:
    """Return boxes in whole pixels."""
    return [Box(*map(round, map(float, box))) for box in found.boxes]


def list_candidates() -> tuple[list[Candidate], list[NotMeasured]]:
    """Return the detectors to compare, and why others cannot be."""
    candidates = [
        Candidate(name := f"{cascade}, {side} pixels", _cascade(cascade, side), is_live=name == BASELINE)
        for cascade in CASCADES
        for side in SIDES
    ]
    candidates += [
        Candidate("HaarDetector (mien run)", lambda threads: HaarDetector(), is_live=True),
        Candidate("HaarDetector (mien image)", lambda threads: HaarDetector.for_stills()),
    ]
    not_measured = []
    for name in ("YuNet", "finder"):
        if why := _why_not(name):
            not_measured.append({"peer": name, "why": why})
        else:
            candidates += _forms(name)
    return candidates, not_measured


def list_raw_candidates() -> list[RawCandidate]:
    """Return the detectors that can be judged by their own boxes and scores, in 320 pixels."""
    candidates = []
    if not _why_not("finder"):
        finder = FinderDetector()
        candidates.append(RawCandidate("finder, 320 pixels", finder, finder.card.score_threshold))
    if yunet := find_published("yunet"):
        candidates.append(RawCandidate("YuNet, 320 pixels", RawYuNet(yunet), MIN_SCORE))
    return candidates


def list_crop_candidates() -> tuple[dict[str, FaceDetector], list[NotMeasured]]:
    """Return the detectors of `mien run` by name, on one thread, and why others cannot be measured."""
    reasons = {name: _why_not(name) for name in ("finder", "YuNet")}
    detectors = {name: open_detector(name.lower()) for name, why in reasons.items() if not why}
    not_measured = [{"peer": name, "why": why} for name, why in reasons.items() if why]
    return {**detectors, "HaarDetector": HaarDetector()}, not_measured


def _cascade(name: str, side: int) -> Callable[[int], FaceDetector]:
    return lambda threads: PlainCascade(name, side)


def _forms(name: str) -> list[Candidate]:
    """Return a detector as `mien run` and `mien image` take it."""
    key, is_ours = name.lower(), name == "finder"
    return [
        Candidate(
            f"{name}, 320 pixels (mien run)", lambda threads: open_detector(key, num_threads=threads), is_ours, is_ours
        ),
        Candidate(
            f"{name}, 640 pixels (mien image)",
            lambda threads: open_detector(key, for_stills=True, num_threads=threads),
            is_ours=is_ours,
        ),
    ]


def _why_not(name: str) -> str:
    """Return why a detector cannot be measured here; "" if it can."""
    if name == "YuNet" and find_published("yunet") is None:
        return NO_YUNET
    try:
        open_detector(name.lower())
    except (OSError, ValueError, ImportError) as error:
        return " ".join(str(error).split())
    return ""
