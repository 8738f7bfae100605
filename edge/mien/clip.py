"""A whole video in a few figures: the overall emotion of each person and of the clip, averaged over frames."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS
from mien.faces import Box, FrameResult, Image
from mien.health import Health
from mien.outputs.base import Output
from mien.outputs.blur import blur_faces, places_of_faces
from mien.recognition import Recognition
from mien.recognizer import EmotionRecognizer
from mien.sources import Source
from mien.streaming import FINISH_S

THUMBNAIL_SIDE = 72
THUMBNAIL_MARGIN = 0.25
"""Share of the box's side that a thumbnail shows around it: hair and chin belong to a face."""

MOST_SLOTS = 64
"""Each person has one thumbnail for each of so many stretches of the video, or of half as many."""

FIRST_SLOT_S = 0.1

SHORT_S = 1.0
"""Whom a video shows for less is summed up with others."""

MOST_PICTURED = 8
"""When more people than this have thumbnails, those who were seen shortest lose them: hours of passers-by fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """A face in one frame.

    Attributes:
        time_s: of the frame.
        emotion: the most probable one in this frame alone.
        picture: (72, 72, 3) BGR uint8.
    """

    time_s: float
    emotion: str
    picture: Image


@dataclass(frozen=True, slots=True, eq=False)
class PersonSummary:
    """What one person showed; somebody who was away for more than half a second counts as another one.

    Attributes:
        track_id: as in the frames' results.
        mean: (7,) float64, the plain mean of `probabilities`, in the order of `EMOTIONS`.
        starts_s: (N,) float64, the times of the N frames that show the person.
        ends_s: (N,) float64, until when each of them was shown.
        probabilities: (N, 7) float32, what each of these frames alone says.
        thumbnails: in the order of their times; none of people whom many others were seen longer than.
    """

    track_id: int
    mean: npt.NDArray[np.float64]
    starts_s: npt.NDArray[np.float64]
    ends_s: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float32]
    thumbnails: tuple[Thumbnail, ...]

    @property
    def seen_s(self) -> float:
        """Seconds in which the person was seen, without the gaps."""
        return float((self.ends_s - self.starts_s).sum())


@dataclass(frozen=True, slots=True, eq=False)
class ClipSummary:
    """What a video showed.

    Attributes:
        length_s: until the end of its last frame.
        frames: how many there are.
        frames_with_face: how many of them show at least one face.
        mean: (7,) float64, the plain mean over all faces of all frames; None if there was none.
        persons: in the order in which they came.
    """

    length_s: float
    frames: int
    frames_with_face: int
    mean: npt.NDArray[np.float64] | None
    persons: tuple[PersonSummary, ...]


def summarize_clip(
    source: Source,
    recognizer: EmotionRecognizer,
    is_blurred: bool = False,
    outputs: Sequence[Output] = (),
    on_frame: Callable[[float], object] = lambda time_s: None,
) -> ClipSummary:
    """Go through a video, frame by frame, and sum up what its faces show.

    Args:
        source: a video; closed at the end.
        recognizer: is reset. A face that it leaves for a later frame, because there are more than `max_classified`,
            does not count in this one.
        is_blurred: whether faces are made unrecognisable in the thumbnails.
        outputs: are given every frame, and left open.
        on_frame: called with the time of each frame, after it; what it raises ends the work.

    Raises:
        OSError, ValueError: what ended the source or an output.
    """
    recognizer.reset()
    gatherer = _Gatherer(is_blurred)
    recognition = Recognition(source, recognizer, Health())
    try:
        for image, result in recognition:
            gatherer.add(image, result)
            for output in outputs:
                output.write(image, result)
            on_frame(result.time_s)
    finally:
        recognition.stop()
        recognition.join(FINISH_S)
    return gatherer.finish(1 / source.frame_rate)


def split_persons(summary: ClipSummary) -> tuple[list[PersonSummary], list[PersonSummary]]:
    """Return who was seen for a second or longer (if nobody was, the longest seen), and the others."""
    longest_s = max((person.seen_s for person in summary.persons), default=0.0)
    long = [person for person in summary.persons if person.seen_s >= min(SHORT_S, longest_s)]
    return long, [person for person in summary.persons if person not in long]


def facts(summary: ClipSummary) -> str:
    """Return length, frames, and how many of them show a face, for people."""
    share = summary.frames_with_face / summary.frames
    length = f"{clock(summary.length_s)} long, {counted(summary.frames, 'frame')}"
    return f"{length}, a face in {100 * share:.0f} % of them"


def counted(count: int, noun: str) -> str:
    """Return "1 frame" or "2 frames"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def clock(time_s: float, digits: int = 1) -> str:
    """Return a time as 01:05.3, or 2:01:05.3 from an hour on."""
    minutes, seconds = divmod(round(time_s, digits), 60)
    hours, minutes = divmod(int(minutes), 60)
    width = digits + 3 if digits else 2
    return f"{hours}:" * bool(hours) + f"{minutes:02d}:{seconds:0{width}.{digits}f}"


def top_emotions(mean: npt.NDArray[np.float64], count: int = 3) -> str:
    """Return the most probable emotions that do not round to nothing, as "happy 62 %, neutral 21 %, surprise 9 %"."""
    best = np.argsort(-mean, kind="stable")[:count]
    return ", ".join(f"{EMOTIONS[index]} {100 * mean[index]:.0f} %" for index in best if mean[index] >= 0.005)


class _Gatherer:
    """Takes one frame after the other; hours of video fit into memory."""

    def __init__(self, is_blurred: bool) -> None:
        self._is_blurred = is_blurred
        self._persons: dict[int, _Person] = {}
        self._present: list[_Person] = []  # in the last frame
        self._frames = self._frames_with_face = 0
        self._time_s = 0.0

    def add(self, image: Image, result: FrameResult) -> None:
        self._end_frame(result.time_s)
        self._time_s = result.time_s
        self._frames += 1
        self._frames_with_face += bool(result.faces)
        shown, known = None, len(self._persons)
        for face in result.faces:
            if face.instant is None:
                continue
            person = self._persons.setdefault(face.track_id, _Person())
            person.starts_s.append(result.time_s)
            person.probabilities.extend(face.instant.tolist())
            self._present.append(person)
            if person.is_picture_wanted(face.instant.max(), result.time_s):
                if shown is None:
                    shown = blur_faces(image, places_of_faces(result)) if self._is_blurred else image
                emotion = EMOTIONS[int(face.instant.argmax())]
                person.keep_picture(face.instant.max(), Thumbnail(result.time_s, emotion, _cut(shown, face.box)))
        if len(self._persons) > known:
            self._limit_pictures()

    def finish(self, last_frame_s: float) -> ClipSummary:
        """Return the sum; the last frame lasts for `last_frame_s`."""
        end_s = self._time_s + last_frame_s
        self._end_frame(end_s)
        persons = tuple(person.summary(track_id) for track_id, person in self._persons.items())
        mean = None
        if persons:
            counts = [len(person.starts_s) for person in persons]
            mean = np.average([person.mean for person in persons], axis=0, weights=counts)
        return ClipSummary(end_s, self._frames, self._frames_with_face, mean, persons)

    def _end_frame(self, end_s: float) -> None:
        for person in self._present:
            person.ends_s.append(end_s)
        self._present = []

    def _limit_pictures(self) -> None:
        pictured = [person for person in self._persons.values() if person.best]
        if len(pictured) > 2 * MOST_PICTURED:
            pictured.sort(key=lambda person: len(person.starts_s), reverse=True)
            for person in pictured[MOST_PICTURED:]:
                if person not in self._present:  # who is there may yet stay for long
                    person.best.clear()


class _Person:
    """What is kept of one person: 44 bytes a frame, and the best picture of each slot of time."""

    def __init__(self) -> None:
        self.starts_s, self.ends_s, self.probabilities = array("d"), array("d"), array("f")
        self.best: dict[int, tuple[float, Thumbnail]] = {}  # slot -> confidence, picture
        self._slot_s = FIRST_SLOT_S

    def is_picture_wanted(self, confidence: float, time_s: float) -> bool:
        """Whether no picture of this slot shows an emotion as clearly."""
        while time_s >= MOST_SLOTS * self._slot_s:
            self._widen_slots()
        kept = self.best.get(int(time_s / self._slot_s))
        return kept is None or confidence > kept[0]

    def keep_picture(self, confidence: float, thumbnail: Thumbnail) -> None:
        self.best[int(thumbnail.time_s / self._slot_s)] = confidence, thumbnail

    def summary(self, track_id: int) -> PersonSummary:
        probabilities = np.array(self.probabilities, np.float32).reshape(-1, len(EMOTIONS))
        mean = probabilities.mean(axis=0, dtype=np.float64)
        thumbnails = tuple(self.best[slot][1] for slot in sorted(self.best))
        return PersonSummary(track_id, mean, np.array(self.starts_s), np.array(self.ends_s), probabilities, thumbnails)

    def _widen_slots(self) -> None:
        """Make one of each two slots, with the better of their pictures."""
        self._slot_s *= 2
        kept, self.best = self.best, {}
        for slot, (confidence, thumbnail) in kept.items():
            other = self.best.get(slot // 2)
            if other is None or confidence > other[0]:
                self.best[slot // 2] = confidence, thumbnail


def _cut(image: Image, box: Box) -> Image:
    """Return a square around a face; what lies outside of the image repeats its edge."""
    import cv2

    side = round((1 + 2 * THUMBNAIL_MARGIN) * max(box.width, box.height))
    x, y = box.centre
    cut = cv2.getRectSubPix(image, (side, side), (x - 0.5, y - 0.5))
    return cv2.resize(cut, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
