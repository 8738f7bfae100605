"""What every output of results is: a context manager that is given each frame with its result."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mien.config import Config
from mien.faces import FrameResult, Image
from mien.health import Health


@dataclass(frozen=True, slots=True)
class OutputContext:
    """What outputs may know of the run when they are opened.

    Attributes:
        config: its settings.
        frame_rate: nominal frames/s of the source, for a video.
        health: how the run is doing, at any time.
    """

    config: Config = field(default_factory=Config)
    frame_rate: float = 30.0
    health: Health = field(default_factory=Health)


class Output(ABC):
    """Takes results; leaving its `with` finishes what it writes.

    Each output has a thread of its own, which calls `write` and then `close`, so a slow one delays nobody. What does
    not fit into its queue of `queue_size` is dropped, the oldest first, and counted; only when the source can wait
    (a file) and the output `is_record` does the source wait for it, and nothing is dropped.

    Attributes:
        queue_size: results that may wait; 1: the newest wins, as for live pictures.
        is_record: whether it is to have every frame: files.
        needs_main_thread: whether it must be called from the main thread: windows.
        wants_to_stop: whether the user has asked here for the run to end.
        dropped: results that it took and could not deliver.
    """

    queue_size = 1
    is_record = False
    needs_main_thread = False
    wants_to_stop = False
    dropped = 0

    @abstractmethod
    def write(self, image: Image, result: FrameResult) -> None:
        """Take one frame, (H, W, 3) BGR uint8, which is not to be changed, and what was seen in it.

        Raises:
            OSError: it failed for good; the run goes on without this output if it has others.
        """

    def idle(self) -> None:
        """Do what must be done while no frame comes; only outputs in the main thread are asked, 30 times a second."""

    def close(self) -> None:
        """Finish; called once, also after an interruption. Must not take longer than a second."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
