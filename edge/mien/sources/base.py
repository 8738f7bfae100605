"""What every source of frames is: a context manager that yields `Frame`s."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mien.faces import Image


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) BGR uint8.
        index: its number in the source, from 0 on.
        time_s: seconds since the source's start for files, Unix time for cameras.
        name: of the file, where each frame is a file of its own.
        luma: (h, w) uint8 gray of the same view in fewer pixels, where the camera makes one; rows may be padded in
            memory (a view with strides).
        taken_s: `time.monotonic()` of the moment that latency counts from: the sensor's, where the camera says it.
    """

    image: Image
    index: int
    time_s: float
    name: str = ""
    luma: Image | None = None
    taken_s: float = field(default_factory=time.monotonic)


class SourceLostError(OSError):
    """A camera or stream gives no pictures any more; it may come back."""


class Source(ABC):
    """Yields frames; closing it frees the camera or the file.

    Attributes:
        is_continuous: whether consecutive frames show one scene, so that faces can be followed.
        is_live: whether frames come at their own time: who is late for one takes the next. Frames of other sources
            wait until they are asked for, and none is left out.
        frame_rate: nominal frames/s, for those who write a video.
        name: the same from run to run: the camera's own, a URL without its secrets, or a file.
    """

    is_continuous = True
    is_live = False
    frame_rate = 30.0
    name = ""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield frames; a live source raises `SourceLostError` when none comes any more."""
        ...

    def close(self) -> None:
        """Free what the source holds; nothing, unless a source says otherwise. May be called from another thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
