"""What every source of frames is: a context manager that yields `Frame`s."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
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
    """

    image: Image
    index: int
    time_s: float
    name: str = ""


class Source(ABC):
    """Yields frames; closing it frees the camera or the file.

    Attributes:
        is_continuous: whether consecutive frames show one scene, so that faces can be followed.
        frame_rate: nominal frames/s, for those who write a video.
    """

    is_continuous = True
    frame_rate = 30.0

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Free what the source holds; nothing, unless a source says otherwise."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
