"""How much a Haar search has to do: the pixels of all scaled copies of a picture, counted while mien runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from unittest.mock import patch

from mien.detectors import HaarDetector

WINDOW = 20
"""Side of the pictures that mien's cascades have learnt, in pixels."""


@dataclass
class SearchCount:
    """Pixels that a detector's cascades searched, summed over the sizes of their pyramids.

    Attributes:
        near_pixels: around faces that are known or suspected.
        whole_pixels: on the way through the whole frame.
    """

    near_pixels: int = 0
    whole_pixels: int = 0


def pyramid_pixels(shape: tuple[int, ...], scale_factor: float, smallest: int, largest: int) -> int:
    """Return the pixels of all scaled copies of a picture that `detectMultiScale` searches.

    Which these are: `CascadeClassifierImpl::detectMultiScaleNoGrouping` in OpenCV's cascadedetect.cpp.

    Args:
        shape: (height, width) of the picture.
        scale_factor: between two sizes.
        smallest, largest: side of the faces that are searched; `largest` 0 sets no limit. Where both are the same and
            no size is just so, the nearest one is searched.
    """
    height, width = shape[:2]
    scales: list[float] = []
    for power in count():
        scale = scale_factor**power
        if round(WINDOW * scale) > min(height, width):
            break
        scales.append(scale)
    fit = [scale for scale in scales if smallest <= round(WINDOW * scale) <= (largest or max(height, width))]
    if not fit and scales:
        fit = [min(scales, key=lambda scale: abs(WINDOW * scale - smallest))]
    return sum(round(width / scale) * round(height / scale) for scale in fit)


@contextmanager
def counted_search(detector: HaarDetector) -> Iterator[SearchCount]:
    """Count what a detector's cascades search meanwhile."""
    counts, is_near = SearchCount(), False
    detect_near = detector.detect_near

    def near(*arguments: Any, **named: Any) -> Any:
        nonlocal is_near
        is_near = True
        try:
            return detect_near(*arguments, **named)
        finally:
            is_near = False

    def note(pixels: int) -> None:
        if is_near:
            counts.near_pixels += pixels
        else:
            counts.whole_pixels += pixels

    cascades = {name: _CountedCascade(cascade, note) for name, cascade in detector._cascades.items()}
    with ExitStack() as stack:
        stack.enter_context(patch.object(detector, "detect_near", near))
        stack.enter_context(patch.object(detector, "_cascades", cascades))
        yield counts


class _CountedCascade:
    """Stands for a cascade of OpenCV, which takes no attributes."""

    def __init__(self, inner: Any, note: Callable[[int], None]) -> None:
        self._inner, self._note = inner, note

    def detectMultiScale(self, picture: Any, **named: Any) -> Any:  # noqa: N802
        self._note(pyramid_pixels(picture.shape, named["scaleFactor"], named["minSize"][0], named["maxSize"][0]))
        return self._inner.detectMultiScale(picture, **named)


def whole_pass_pixels(shape: tuple[int, ...]) -> int:
    """Return the pixels of one search of a whole picture for faces of every size, at scale factor 1.1."""
    return pyramid_pixels(shape, 1.1, 0, 0)
