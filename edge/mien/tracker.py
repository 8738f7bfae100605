"""Who is who from frame to frame, and a steady opinion of each face.

All times are seconds, never frames: the same video gives the same result at any speed.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.faces import Box

MIN_OVERLAP = 0.2
"""Two boxes of one face overlap at least so much; a head moves little between two frames."""

MAX_GAP_S = 0.5
"""A face that was missed for longer gets a new id when it returns."""

SLOWEST_S = 15.0
"""Frames that are further apart are not slow: a camera was away, and so may be who was before it."""

HOLD = 0.1
"""Another emotion must be so much more probable than the shown one to take its place."""

HOLD_SURE = 0.1
"""A face that was sure stays so until its confidence is so far below the threshold."""


VELOCITY_S = 0.2
"""Time constant of a face's velocity: boxes tremble, heads have weight."""


@dataclass(slots=True)
class Track:
    """One face over time."""

    track_id: int
    box: Box
    last_seen_s: float
    probabilities: npt.NDArray[np.float32] | None = None  # smoothed
    instant: npt.NDArray[np.float32] | None = None  # the last answer of the classifier
    classified_s: float = -math.inf
    times_classified: int = 0
    shown: int = -1  # number of the emotion that is shown; -1: none yet
    is_sure: bool = False
    velocity: tuple[float, float] = (0.0, 0.0)  # of the box's centre, pixels/s

    def move(self, box: Box, time_s: float) -> None:
        """Take a new box, and learn from it how the face moves."""
        passed_s = time_s - self.last_seen_s
        if passed_s > 0:
            share = 1 - math.exp(-passed_s / VELOCITY_S)
            moved = (new - old for new, old in zip(box.centre, self.box.centre, strict=True))
            x, y = (old + share * (way / passed_s - old) for old, way in zip(self.velocity, moved, strict=True))
            self.velocity = (x, y)
        self.box, self.last_seen_s = box, time_s

    def expected(self, time_s: float) -> Box:
        """Return where the face is by now if it moves on as it did, for `MAX_GAP_S` at most."""
        passed_s = min(max(0.0, time_s - self.last_seen_s), MAX_GAP_S)
        x, y = (round(speed * passed_s) for speed in self.velocity)
        return self.box.moved(x, y)

    def smooth(self, probabilities: npt.NDArray[np.float32], time_s: float, smoothing_s: float) -> None:
        """Move the track's opinion towards new (7,) probabilities: exponential smoothing.

        After `smoothing_s` seconds of a new expression, 63 % of the old opinion is gone; of infinity, it is the mean.
        """
        self.times_classified += 1
        if self.probabilities is None or smoothing_s <= 0:
            self.probabilities = probabilities
        else:
            passed_s = max(0.0, time_s - self.classified_s)
            share = 1 / self.times_classified if smoothing_s == math.inf else 1 - math.exp(-passed_s / smoothing_s)
            self.probabilities = self.probabilities + np.float32(share) * (probabilities - self.probabilities)
        self.instant, self.classified_s = probabilities, time_s

    def judge(self, thresholds: npt.NDArray[np.float32]) -> None:
        """Choose the emotion that is shown, and whether it is sure; a small difference changes neither.

        Args:
            thresholds: (7,) confidences below which each emotion is unsure.
        """
        assert self.probabilities is not None
        best = int(self.probabilities.argmax())
        is_clear = self.shown < 0 or self.probabilities[best] >= self.probabilities[self.shown] + HOLD
        if best != self.shown and is_clear:
            self.shown, self.is_sure = best, False
        least = thresholds[self.shown] - (HOLD_SURE if self.is_sure else 0)
        self.is_sure = bool(self.probabilities[self.shown] >= least)


class Tracker:
    """Gives boxes the ids of the tracks whose expected places they overlap most, and new ids to the others."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._next_id = 1
        self._previous_s = -math.inf  # time of the previous frame

    def known(self, time_s: float) -> list[Track]:
        """Return the tracks whose faces may still be there, those that were seen last first.

        Where the clock was set back, all that is known was seen now.
        """
        self._previous_s = min(self._previous_s, time_s)
        for track in self._tracks:
            track.last_seen_s = min(track.last_seen_s, time_s)
            track.classified_s = min(track.classified_s, time_s)
        # Who was seen in the previous frame is still there, however slowly the frames come.
        oldest_s = min(time_s - MAX_GAP_S, max(self._previous_s, time_s - SLOWEST_S))
        alive = [track for track in self._tracks if track.last_seen_s >= oldest_s]
        return sorted(alive, key=lambda track: track.last_seen_s, reverse=True)

    def update(self, boxes: list[Box], time_s: float) -> list[Track]:
        """Return one track for each box, in the order of `boxes`."""
        self._tracks = self.known(time_s)
        self._previous_s = time_s
        matched = self._match(boxes, time_s)
        result = []
        for index, box in enumerate(boxes):
            track = matched.get(index) or self._start_track(box, time_s)
            track.move(box, time_s)
            result.append(track)
        return result

    def _match(self, boxes: list[Box], time_s: float) -> dict[int, Track]:
        """Pair boxes with tracks, the best overlap first, each at most once."""
        pairs = [
            (overlap, index, track)
            for track in self._tracks
            for index, box in enumerate(boxes)
            # A head that stops, or turns back, is where it was rather than where it was expected.
            if (overlap := max(track.expected(time_s).overlap(box), track.box.overlap(box))) >= MIN_OVERLAP
        ]
        matched: dict[int, Track] = {}
        taken: set[int] = set()
        for _, index, track in sorted(pairs, key=lambda pair: pair[0], reverse=True):
            if index not in matched and track.track_id not in taken:
                matched[index] = track
                taken.add(track.track_id)
        return matched

    def _start_track(self, box: Box, time_s: float) -> Track:
        track = Track(self._next_id, box, time_s)
        self._next_id += 1
        self._tracks.append(track)
        return track
