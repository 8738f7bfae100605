"""Keeps a camera or stream alive: when it is lost, or stalls, it is opened again, for ever."""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from mien.faces import Image
from mien.health import Health
from mien.sources.base import Frame, Source, SourceLostError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a `ReconnectingSource` waits for what, in seconds.

    Attributes:
        opening_s: for the first frame, when it is opened again.
        no_frame_s: for the next frame.
        same_frame_s: for another picture than the last: real sensors are noisy, a stalled driver repeats itself.
        same_again_s: the same after it was opened again for this; doubled each time, for a picture that does stand
            still shall only cost a blink now and then.
        same_most_s: the most of that.
        shortest_wait_s: before it is opened again; doubled each time, until it has run for `longest_wait_s`.
        longest_wait_s: the most of that.
        closing_s: for a read that is under way, when all is closed.
    """

    opening_s: float = 30.0
    no_frame_s: float = 5.0
    same_frame_s: float = 5.0
    same_again_s: float = 60.0
    same_most_s: float = 3600.0
    shortest_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    closing_s: float = 1.0


class ReconnectingSource(Source):
    """Gives the newest frame of a live source, and looks for the source when it is lost.

    Frames are numbered on over all openings. Each opening is read in a thread of its own, so a read that hangs in a
    driver holds up neither `close` nor the notice that no frame comes.

    Args:
        open_: opens the source, and looks for it anew each time.
        health: told when the source is lost and when it is back; frames that gave way before they were taken are
            counted in it, those that are taken are not.
        first: the source, if it is open already.
        patience: time limits.

    Raises:
        Whatever the first opening raises: a mistake in its name is told at once.
    """

    is_live = True

    def __init__(
        self,
        open_: Callable[[], Source],
        health: Health | None = None,
        first: Source | None = None,
        patience: Patience = Patience(),
    ) -> None:
        self._open, self._health, self._patience = open_, health or Health(), patience
        self._first: Source | None = first or open_()
        self.is_continuous, self.frame_rate = self._first.is_continuous, self._first.frame_rate
        self.name = self._first.name
        self._changed = threading.Condition()  # guards what follows, and all of the reader
        self._is_closed = False
        self._reader: _Reader | None = None
        self._stillness = _Stillness(patience)
        self._numbers = count()
        self._lost_at_s: float | None = None

    def __iter__(self) -> Iterator[Frame]:
        delay_s = self._patience.shortest_wait_s
        while (reader := self._start()) is not None:
            started_s = time.monotonic()
            problem = yield from self._frames(reader)
            if not problem:
                return
            if time.monotonic() - started_s > self._patience.longest_wait_s:
                delay_s = self._patience.shortest_wait_s
            self._lose(problem)
            self._wait(reader, delay_s)
            delay_s = min(2 * delay_s, self._patience.longest_wait_s)

    def close(self) -> None:
        """Close the source and end the iteration at once, from whatever thread."""
        with self._changed:
            self._is_closed = True
            first, self._first = self._first, None
            if self._reader is not None:
                self._reader.is_stopped = True
            self._changed.notify_all()
        if first is not None:
            first.close()
        elif self._reader is not None:
            self._reader.join(self._patience.closing_s)

    def _start(self) -> "_Reader | None":
        """Start to read, from the source that is open or a new one; None when closed."""
        with self._changed:
            if self._is_closed:
                return None
            first, self._first = self._first, None
            self._reader = _Reader(self._open, first, self._changed)
            self._reader.start()
            return self._reader

    def _frames(self, reader: "_Reader") -> Generator[Frame, None, str]:
        """Yield what a reader reads; returns what went wrong, or "" when it is closed or at its end."""
        limit_s = self._patience.opening_s
        self._stillness.begin()
        while True:
            try:
                frame = self._take(reader, limit_s)
                if frame is None:
                    return ""
                self._stillness.check(frame.image)
            except OSError as error:
                return str(error)
            self._find()
            limit_s = self._patience.no_frame_s
            yield replace(frame, index=next(self._numbers))

    def _take(self, reader: "_Reader", limit_s: float) -> Frame | None:
        """Return the newest frame when there is one; None when closed or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or reader.frame or reader.is_done, limit_s)
            frame, reader.frame = reader.frame, None
            self._health.captured += reader.missed
            self._health.dropped += reader.missed
            reader.missed = 0
            if self._is_closed or frame is not None:
                return None if self._is_closed else frame
            if not reader.is_done:
                raise SourceLostError(f"no picture for {limit_s:g} s")
            if reader.error is not None:
                raise reader.error
            return None

    def _lose(self, problem: str) -> None:
        if self._lost_at_s is None:
            self._lost_at_s = time.monotonic()
            logger.warning("the source is lost (%s): looking for it until it is back", problem)
        self._health.set_source("waiting", problem)

    def _find(self) -> None:
        if self._lost_at_s is not None:
            logger.info("the source is back after %.1f s", time.monotonic() - self._lost_at_s)
            self._lost_at_s = None
            self._health.set_source("running")

    def _wait(self, reader: "_Reader", delay_s: float) -> None:
        """Wait, until the reader has closed its source at least: a camera can be opened once at a time."""
        with self._changed:
            reader.is_stopped = True
            self._changed.wait_for(lambda: self._is_closed, delay_s)
            self._changed.wait_for(lambda: self._is_closed or reader.is_done)


class _Reader(threading.Thread):
    """Reads one opening of a source, and keeps its newest frame."""

    def __init__(self, open_: Callable[[], Source], source: Source | None, changed: threading.Condition) -> None:
        super().__init__(name="source", daemon=True)
        self._open, self._source, self._changed = open_, source, changed
        self.frame: Frame | None = None
        self.missed = 0  # frames that gave way to a newer one since the last was taken
        self.error: Exception | None = None
        self.is_stopped = self.is_done = False

    def run(self) -> None:
        """Open, read and close; each in this one thread, as drivers like it best."""
        try:
            with self._source or self._open() as source:
                for frame in source:
                    with self._changed:
                        if self.is_stopped:
                            break
                        self.missed += self.frame is not None
                        self.frame = frame
                        self._changed.notify_all()
        except Exception as error:  # raised again by `_take`, in the thread that iterates
            self.error = error
        finally:
            with self._changed:
                self.is_done = True
                self._changed.notify_all()


class _Stillness:
    """Tells a stalled driver, which gives the same picture for ever, from a camera."""

    def __init__(self, patience: Patience) -> None:
        self._patience, self._limit_s = patience, patience.same_frame_s
        self._last: Image | None = None
        self._since_s: float | None = None

    def begin(self) -> None:
        """Count from the next picture on: the source has been opened."""
        self._since_s = None

    def check(self, image: Image) -> None:
        """Raise SourceLostError if the picture has been the same, bit by bit, for too long."""
        now_s = time.monotonic()
        if self._last is None or not _is_same(image, self._last):
            self._since_s, self._limit_s = now_s, self._patience.same_frame_s
        elif self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s >= self._limit_s:
            limit_s = self._limit_s
            self._limit_s = min(max(2 * limit_s, self._patience.same_again_s), self._patience.same_most_s)
            raise SourceLostError(f"the very same picture for {limit_s:g} s")
        self._last = image


def _is_same(image: Image, other: Image) -> bool:
    """Compare a few pixels first, which tells nearly all pictures apart, and then all."""
    is_alike = image.shape == other.shape and np.array_equal(image[::16, ::16], other[::16, ::16])
    return is_alike and np.array_equal(image, other)
