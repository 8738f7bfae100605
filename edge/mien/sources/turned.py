"""Frames of another source, turned and mirrored, for cameras that hang on their side or show a mirror."""

from collections.abc import Iterator
from dataclasses import replace

from mien.faces import Image
from mien.sources.base import Frame, Source


class TurnedSource(Source):
    """Turns the frames of a source, and then mirrors them.

    Args:
        source: closed with this one.
        rotate: degrees clockwise: 0, 90, 180 or 270.
        mirror: whether left and right are swapped.
    """

    def __init__(self, source: Source, rotate: int, mirror: bool) -> None:
        self._source, self._rotate, self._mirror = source, rotate, mirror
        self.is_continuous, self.is_live = source.is_continuous, source.is_live
        self.frame_rate, self.name = source.frame_rate, source.name

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            luma = None if frame.luma is None else self._turn(frame.luma)
            yield replace(frame, image=self._turn(frame.image), luma=luma)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _turn(self, image: Image) -> Image:
        import cv2

        if self._rotate:
            turns = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
            image = cv2.rotate(image, turns[self._rotate])
        return cv2.flip(image, 1) if self._mirror else image


def turned(source: Source, rotate: int, mirror: bool) -> Source:
    """Return a source whose frames are turned; the source itself if nothing is to be done."""
    return TurnedSource(source, rotate, mirror) if rotate or mirror else source
