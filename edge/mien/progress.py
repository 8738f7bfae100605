"""How far a long piece of work is, and how long it still takes: one line on the terminal, drawn again and again."""

import os
import sys
import time
from types import TracebackType
from typing import Self, TextIO

REDRAW_S = 0.2
"""The line is drawn so often: often enough to look alive, seldom enough to cost nothing, on a serial line either."""

MEASURED_S = 1.0
"""The time left is told when so much has been seen of the speed; before, it would be a guess."""

BAR_COLUMNS = 24
TEXT_COLUMNS = 30


class ProgressBar:
    """A context manager that shows text, bar, percent and time left; silent where nobody looks at a terminal.

    Args:
        text: what is being done, as "holiday.mp4"; its end is cut off if it is long.
        total: what `done` will be at the end; 0: unknown, so what is done is shown without a bar.
        stream: where to draw; None: standard error, so that results can be piped elsewhere.
        unit: of `done`, as "frames" or "MB"; shown where the total is unknown.
    """

    def __init__(self, text: str, total: float, stream: TextIO | None = None, unit: str = "") -> None:
        self._stream = sys.stderr if stream is None else stream
        # Python has no standard error at all (None) where it was closed.
        self._is_shown = self._stream is not None and self._stream.isatty()
        self._text = "".join(letter if letter.isprintable() else "?" for letter in text)
        self._total, self._unit = total, unit
        self._done = 0.0
        self._started_s = time.monotonic()
        self._drawn_s = -REDRAW_S

    def update(self, done: float) -> None:
        """Tell how much is done by now; as often as you like."""
        self._done = done
        if self._is_shown and time.monotonic() >= self._drawn_s + REDRAW_S:
            self._draw(self._left())

    def __enter__(self) -> Self:
        self._started_s = time.monotonic()
        if self._is_shown:
            self._draw("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_shown:
            self._draw(_clock(time.monotonic() - self._started_s))
            self._stream.write("\n")
            self._stream.flush()

    def _draw(self, clock: str) -> None:
        self._drawn_s = time.monotonic()
        line = f"{_shortened(self._text, TEXT_COLUMNS)}  {self._state()}  {clock}"
        # A line that is wider than the terminal would begin a new one each time. Back at its beginning, the cursor
        # lets a warning replace the line, not continue it.
        self._stream.write(f"\r\x1b[K{line[: self._columns() - 1]}\r")
        self._stream.flush()

    def _state(self) -> str:
        if not self._total:
            return f"{self._done:,.0f} {self._unit}".rstrip()
        share = min(1.0, max(0.0, self._done / self._total))
        filled = int(share * BAR_COLUMNS)
        return f"[{'#' * filled}{'.' * (BAR_COLUMNS - filled)}] {int(100 * share):3d} %"

    def _left(self) -> str:
        passed_s = time.monotonic() - self._started_s
        if not self._total or self._done <= 0 or passed_s < MEASURED_S:
            return ""
        return f"{_clock(passed_s * max(0.0, self._total / self._done - 1))} left"

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80  # a serial line says 0
        except OSError:
            return 80


def _shortened(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 3]}..."


def _clock(seconds: float) -> str:
    """Return a time as 1:05, or 2:00:07 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
