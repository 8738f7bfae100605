"""What every output of results is: a context manager that is given each frame with its result."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from mien.faces import FrameResult, Image


class Output(ABC):
    """Takes results; leaving its `with` finishes what it writes.

    Attributes:
        wants_to_stop: whether the user has asked here for the run to end.
    """

    wants_to_stop = False

    @abstractmethod
    def write(self, image: Image, result: FrameResult) -> None:
        """Take one frame, (H, W, 3) BGR uint8, which is not to be changed, and what was seen in it."""

    def close(self) -> None:
        """Finish; called once, also after an interruption."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
