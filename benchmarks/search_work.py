"""How much finding faces has to do: multiply-adds of the finder's network, counted while mien runs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any
from unittest.mock import patch

from benchmarks.operators import read_operators
from mien.detectors.finder import FinderDetector
from mien.faces import Image
from mien.finder_card import FINDER_FILE, read_finder
from mien.interpreter import TFLiteMaps

WINDOW = 20
"""Side of the pictures that OpenCV's frontal cascades have learnt, in pixels."""


@dataclass
class SearchCount:
    """Multiply-adds of a finder's network.

    Attributes:
        near: around faces that are known or suspected.
        whole: in whole frames.
    """

    near: int = 0
    whole: int = 0


@contextmanager
def counted_search(detector: FinderDetector) -> Iterator[SearchCount]:
    """Count what a detector's network computes meanwhile."""
    counts, is_near, adds_a_pixel = SearchCount(), False, finder_adds_a_pixel()
    detect_near, run = detector.detect_near, TFLiteMaps.run

    def near(*arguments: Any, **named: Any) -> Any:
        nonlocal is_near
        is_near = True
        try:
            return detect_near(*arguments, **named)
        finally:
            is_near = False

    def counted(maps: TFLiteMaps, picture: Image) -> Any:
        adds = round(adds_a_pixel * picture.size)
        if is_near:
            counts.near += adds
        else:
            counts.whole += adds
        return run(maps, picture)

    with patch.object(detector, "detect_near", near), patch.object(TFLiteMaps, "run", counted):
        yield counts


def finder_adds_a_pixel() -> float:
    """Return the multiply-adds of the wheel's finder for each pixel of a picture, whose size does not matter."""
    content, card = read_finder(FINDER_FILE)
    return sum(operator.multiply_adds for operator in read_operators(content)) / math.prod(card.input.shape)


def whole_pass_pixels(shape: tuple[int, ...]) -> int:
    """Return the pixels of all scaled copies of a picture that a Haar search for faces of every size goes through.

    At scale factor 1.1. Which copies these are: `CascadeClassifierImpl::detectMultiScaleNoGrouping` in OpenCV's
    cascadedetect.cpp.
    """
    height, width = shape[:2]
    scales = takewhile(lambda scale: round(WINDOW * scale) <= min(height, width), (1.1**power for power in count()))
    return sum(round(width / scale) * round(height / scale) for scale in scales)
