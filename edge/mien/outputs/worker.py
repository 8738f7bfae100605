"""The thread that writes to one output."""

import threading

from mien.channel import Channel
from mien.faces import FrameResult, Image
from mien.health import OutputHealth
from mien.outputs.base import Output


class OutputWorker:
    """Gives results to one output in a thread of its own, or from the main thread where it must be.

    Args:
        name: the text that `--output` was given.
        output: closed here, after its last result.
        health: counts what becomes of the results.
        source_waits: whether the source waits for those outputs that are records.
        ended: set when this or another output has ended.
    """

    def __init__(
        self, name: str, output: Output, health: OutputHealth, source_waits: bool, ended: threading.Event
    ) -> None:
        self.name, self.output, self._health, self._ended = name, output, health, ended
        is_lossless = source_waits and output.is_record
        size = max(output.queue_size, 4) if is_lossless else output.queue_size
        self._results: Channel[tuple[Image, FrameResult]] = Channel(size, is_lossless)
        self._missed, self._counting = 0, threading.Lock()
        self.error: BaseException | None = None
        self.is_done = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, if the output may have one."""
        if not self.output.needs_main_thread:
            self._thread.start()

    def offer(self, image: Image, result: FrameResult) -> None:
        """Hand over a result; waits only for a record of a source that can wait."""
        if not self.is_done:
            self._count_dropped(self._results.put((image, result)))

    def end_waiting(self) -> None:
        """Let `offer` wait no more."""
        self._results.end_waiting()

    def finish(self) -> None:
        """Let nothing more in; what waits is written, then the output is closed."""
        self._results.close()

    def step(self, timeout_s: float | None) -> None:
        """Write one result, if one comes in time; close the output after the last one, or when it fails."""
        try:
            thing = self._results.get(timeout_s)
            if thing is not None:
                self.output.write(*thing)
                self._health.written += 1
            else:
                self.output.idle()
        except BaseException as error:  # told, or raised again, in the main thread
            self.error = error
            self._results.close(is_emptied=True)
        if self.error is not None or self._results.is_finished or self.output.wants_to_stop:
            self._close()

    def _work(self) -> None:
        while not self.is_done:
            self.step(None)

    def _close(self) -> None:
        self._results.close(is_emptied=True)
        try:
            self.output.close()
        except BaseException as error:  # as above
            self.error = self.error or error
        if self.error is not None:
            self._health.error = str(self.error) or type(self.error).__name__
        self._count_dropped(0)
        self.is_done = True
        self._ended.set()

    def _count_dropped(self, missed: int) -> None:
        """Add what the output was too slow for; what it has lost itself is counted with it."""
        with self._counting:
            self._missed += missed
            self._health.dropped = self._missed + self.output.dropped
