"""What travels between the stages: boxes, faces and a frame's result."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS, UNSURE

Image = npt.NDArray[np.uint8]
"""(H, W) gray or (H, W, 3) BGR, 0-255."""


class Box(NamedTuple):
    """A face's place in pixels of the frame: left, top, width and height."""

    x: int
    y: int
    width: int
    height: int

    @property
    def roll_degrees(self) -> float:
        """How far the head leans, clockwise in the picture; 0 unless a detector has told it (`LeaningBox`)."""
        return 0.0

    def moved(self, x: int, y: int) -> "Box":
        """Return the same box elsewhere: so many pixels further right and down."""
        return self._replace(x=self.x + x, y=self.y + y)

    def scaled(self, scale_x: float, scale_y: float) -> "Box":
        """Return the box in a picture of another size."""
        return Box(
            round(self.x * scale_x), round(self.y * scale_y), round(self.width * scale_x), round(self.height * scale_y)
        )

    @property
    def area(self) -> int:
        """Width times height, in pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """X and y of the middle, in pixels."""
        return self.x + self.width / 2, self.y + self.height / 2

    def has_inside(self, x: float, y: float) -> bool:
        """Whether a point lies in it."""
        return self.x <= x <= self.x + self.width and self.y <= y <= self.y + self.height

    def is_same_face(self, other: "Box") -> bool:
        """Whether two boxes show one face: they overlap, or one's centre lies in the other."""
        return self.overlap(other) > 0.2 or other.has_inside(*self.centre) or self.has_inside(*other.centre)

    def overlap(self, other: "Box") -> float:
        """Return the intersection over union with another box, 0 to 1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if width <= 0 or height <= 0:
            return 0.0
        common = width * height
        return common / (self.width * self.height + other.width * other.height - common)


class LeaningBox(Box):
    """The place of a face that leans to a side, so that it can be cut out upright.

    The box itself is upright, around the same centre.
    """

    _roll_degrees: float = 0.0

    @classmethod
    def leaning(cls, box: Box, roll_degrees: float) -> "LeaningBox":
        """Return a box with the lean of the face in it, clockwise in the picture."""
        made = cls(*box)
        made._roll_degrees = roll_degrees
        return made

    @property
    def roll_degrees(self) -> float:
        """How far the head leans, clockwise in the picture."""
        return self._roll_degrees

    def moved(self, x: int, y: int) -> Box:
        """Return the same box elsewhere."""
        return self.leaning(super().moved(x, y), self._roll_degrees)

    def scaled(self, scale_x: float, scale_y: float) -> Box:
        """Return the box in a picture of another size."""
        return self.leaning(super().scaled(scale_x, scale_y), self._roll_degrees)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face of one frame.

    Attributes:
        box: where it is.
        probabilities: (7,) float32 in the order of `EMOTIONS`, smoothed over the track.
        track_id: the same number for the same face from frame to frame, from 1 on.
        is_sure: whether the confidence reaches the threshold that the model's card has for `emotion`.
        held: the emotion that is kept although another has become a little more probable; "": the most probable one.
        instant: (7,) float32, what this frame alone shows; None if it was not this face's turn to be classified.
    """

    box: Box
    probabilities: npt.NDArray[np.float32]
    track_id: int
    is_sure: bool = True
    held: str = ""
    instant: npt.NDArray[np.float32] | None = None

    @property
    def emotion(self) -> str:
        """The most probable class, or the one that is held."""
        return self.held or EMOTIONS[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """The probability of `emotion`, 0 to 1."""
        return float(self.probabilities[EMOTIONS.index(self.emotion)])

    @property
    def label(self) -> str:
        """What to show: `emotion`, or "unsure"."""
        return self.emotion if self.is_sure else UNSURE

    @property
    def caption(self) -> str:
        """The label with its confidence, as "happy 87%"; of "unsure" there is none."""
        return f"{self.emotion} {self.confidence:.0%}" if self.is_sure else UNSURE

    def to_dict(self) -> dict[str, Any]:
        """Return the face as the JSON lines show it; box is [x, y, width, height]."""
        return {
            "id": self.track_id,
            "box": list(self.box),
            "label": self.label,
            "emotion": self.emotion,
            "confidence": round(self.confidence, 4),
            "probabilities": {
                name: round(float(value), 4) for name, value in zip(EMOTIONS, self.probabilities, strict=True)
            },
        }


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What was seen in one frame.

    Attributes:
        time_s: seconds since the source's start for files, Unix time for cameras.
        frame: the frame's number in its source, from 0 on.
        faces: the faces found in it, largest first.
        name: of the file, where each frame is a file of its own.
        latency_s: from when the frame was taken (by the sensor, where the camera says it) to this result.
        taken_s: when a camera took the frame, on a clock that nobody sets (`time.monotonic()`); None for files.
        seen: where faces are or may be: all that were found, shown or not, and where those that were missed in this
            frame are expected. Whoever hides faces hides these, too; they are not in the JSON.
        image: the frame, (H, W, 3) BGR, where a program asked for it with `mien.stream`; it is never in the JSON.
    """

    time_s: float
    frame: int
    faces: list[Face]
    name: str = ""
    latency_s: float = 0.0
    taken_s: float | None = None
    seen: tuple[Box, ...] = ()
    image: Image | None = None

    @property
    def steady_s(self) -> float:
        """The time for whoever measures spans: unlike Unix time, it neither jumps nor runs back."""
        return self.time_s if self.taken_s is None else self.taken_s

    def to_dict(self) -> dict[str, Any]:
        """Return the frame as the JSON lines show it; "file" is there for images only."""
        file = {"file": self.name} if self.name else {}
        faces = [face.to_dict() for face in self.faces]
        return {"time": round(self.time_s, 3), "frame": self.frame, **file, "faces": faces}
