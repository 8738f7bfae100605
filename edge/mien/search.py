"""Where to look for faces in this frame: around those that are known, and at a part of the rest."""

import math

from mien.detectors import FaceDetector, StepwiseDetector
from mien.faces import Box, Image

REACH = 0.3
"""How far a face moves between two frames, as a share of its size; and more for each second that passed."""

REACH_PER_S = 1.5

SAME_FACE = 0.4
"""Two boxes of one face overlap by more (intersection over union)."""

PART = 0.6
"""A box with less of another's area and its centre in it is a part of the same face."""


class FaceSearch:
    """Looks around known faces in every frame, and at the whole frame once in an interval, a part in each frame.

    While nobody is there, it looks twice as often. At once it looks at the whole frame in the first one and, once in
    an interval, when a face is not where it was. A detector that cannot look at parts sees the whole frame every time.

    Args:
        detector: what finds the faces.
        interval_s: seconds in which the whole frame is searched; 0: every time, at once.

    Attributes:
        interval_s: may be changed between two frames.
    """

    def __init__(self, detector: FaceDetector, interval_s: float) -> None:
        self._detector, self.interval_s = detector, interval_s
        self._step, self._due = 0, 0.0  # where the search goes on, and how many steps it should have made by now
        self._whole_s, self._previous_s = -math.inf, math.inf

    def find(self, picture: Image, known: list[tuple[Box, float]], time_s: float) -> list[Box]:
        """Return the boxes of the faces in a frame, largest first.

        Args:
            picture: (H, W), or (H, W, 3) for a detector that takes the frame, uint8.
            known: where faces were, in pixels of `picture`, and how many seconds ago.
            time_s: when the frame was taken.
        """
        detector = self._detector
        if not isinstance(detector, StepwiseDetector) or not self.interval_s:
            return detector.detect(picture)
        is_first_or_clock_was_set_back, passed_s = time_s < self._previous_s, time_s - self._previous_s
        self._previous_s = time_s
        if is_first_or_clock_was_set_back:
            return self._find_everywhere(picture, time_s)
        found: list[Box] = []
        for box, ago_s in known:
            near = detector.detect_near(picture, box, min(1.0, REACH + REACH_PER_S * ago_s), is_known=True)
            found += _nearest(near, box)
        if len(found) < len(known) and time_s - self._whole_s >= self.interval_s:
            return _without_doubles(found + self._find_everywhere(picture, time_s))
        # While nobody is there, there is time to look more often.
        interval_s = self.interval_s if known else self.interval_s / 2
        for candidate in self._candidates(picture, passed_s / interval_s):
            if not any(_is_same_face(candidate, box) for box in found):
                found += _nearest(detector.detect_near(picture, candidate, REACH, is_known=False), candidate)
        return _without_doubles(found)

    def _find_everywhere(self, picture: Image, time_s: float) -> list[Box]:
        self._step, self._due, self._whole_s = 0, 0.0, time_s
        return self._detector.detect(picture)

    def _candidates(self, picture: Image, share: float) -> list[Box]:
        """Go on with the search of the whole frame by a share of it; by all of it at most."""
        assert isinstance(self._detector, StepwiseDetector)
        count = self._detector.count_steps(picture.shape[:2])
        self._due = min(self._due + share * count, count)
        found: list[Box] = []
        while self._due >= 1:
            found += self._detector.detect_step(picture, self._step % count)
            self._step = (self._step + 1) % count
            self._due -= 1
        return found


def _nearest(boxes: list[Box], place: Box) -> list[Box]:
    """Return the box that is most in a place, alone: a likelier one in its region may be a neighbour's."""
    return [max(boxes, key=place.overlap)] if boxes else []


def _without_doubles(boxes: list[Box]) -> list[Box]:
    """Return the boxes of different faces, largest first; of two of one face the earlier."""
    kept: list[Box] = []
    for box in boxes:
        if not any(_is_same_face(box, other) for other in kept):
            kept.append(box)
    return sorted(kept, key=lambda box: box.area, reverse=True)


def _is_same_face(one: Box, other: Box) -> bool:
    """Whether two boxes show one face: they overlap much, or the smaller one lies in the larger.

    Heads of one size that partly hide each other overlap by less than detectors do in finding one face twice.
    """
    small, large = sorted((one, other), key=lambda box: box.area)
    is_part = small.area < PART * large.area and large.has_inside(*small.centre)
    return is_part or one.overlap(other) > SAME_FACE
