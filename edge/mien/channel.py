"""Hands things from one thread to another without a queue that grows."""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """A bounded first-in first-out channel between two threads.

    Args:
        size: how many things may wait in it.
        is_lossless: whether who gives into a full channel waits; else the oldest thing gives way.
    """

    def __init__(self, size: int, is_lossless: bool) -> None:
        self._size, self._is_lossless = size, is_lossless
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._is_closed = self._may_wait_no_more = False

    def put(self, thing: T) -> int:
        """Give a thing; return how many were lost by it: 0 or 1. What is given to a closed channel is lost."""
        with self._changed:
            while self._is_lossless and self._is_full and not (self._is_closed or self._may_wait_no_more):
                self._changed.wait()
            if self._is_closed or (self._is_lossless and self._is_full):
                return 1
            lost = 0
            if self._is_full:
                self._waiting.popleft()
                lost = 1
            self._waiting.append(thing)
            self._changed.notify_all()
            return lost

    def get(self, timeout_s: float | None = None) -> T | None:
        """Take the oldest thing; None when none came in time, or the channel is closed and empty."""
        with self._changed:
            if not self._waiting and not self._is_closed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed, timeout_s)
            if not self._waiting:
                return None
            thing = self._waiting.popleft()
            self._changed.notify_all()
            return thing

    @property
    def is_finished(self) -> bool:
        """Whether nothing is in it and nothing will come."""
        with self._changed:
            return self._is_closed and not self._waiting

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= self._size

    def end_waiting(self) -> None:
        """Let nobody wait to give any more: what does not fit into a lossless channel is lost, the newest first."""
        with self._changed:
            self._may_wait_no_more = True
            self._changed.notify_all()

    def close(self, is_emptied: bool = False) -> None:
        """Let nothing more in; what waits can still be taken, unless it is emptied."""
        with self._changed:
            self._is_closed = True
            if is_emptied:
                self._waiting.clear()
            self._changed.notify_all()
