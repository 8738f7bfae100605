"""The progress bar as a terminal shows it, and its silence elsewhere."""

import io
import os
import pty
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import pytest

from mien import progress
from mien.progress import ProgressBar


@contextmanager
def terminal() -> Iterator[tuple[TextIO, list[str]]]:
    """A pseudo-terminal to write to; its lines as they were drawn, one after the other, when it is closed."""
    outside, inside = pty.openpty()
    lines: list[str] = []
    with open(inside, "w") as stream:
        yield stream, lines
    text = b""
    with suppress(OSError), open(outside, "rb", buffering=0) as file:  # an error is how a terminal ends
        while piece := file.read(4096):
            text += piece
    lines += [line for line in re.split(r"[\r\n]+", text.decode().replace("\x1b[K", "")) if line]


def test_the_line_shows_text_bar_percent_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    with terminal() as (stream, lines), ProgressBar("party.mp4", 200, stream) as bar:
        for done in (1, 50, 100):
            now_s[0] += 10
            bar.update(done)
        now_s[0] += 3700
        bar.update(200)
    assert lines[0] == "party.mp4  [........................]   0 %  "
    assert lines[1].endswith("  33:10 left")  # 10 s for 1 of 200, so 1990 s for the rest
    assert lines[3] == "party.mp4  [############............]  50 %  0:30 left"
    assert lines[-1] == "party.mp4  [########################] 100 %  1:02:10"


def test_it_is_redrawn_a_few_times_a_second_however_often_it_is_told() -> None:
    started_s = time.monotonic()
    with terminal() as (stream, lines), ProgressBar("fast", 100_000, stream) as bar:
        for done in range(100_000):
            bar.update(done)
    passed_s = time.monotonic() - started_s
    assert len(lines) <= 2 + passed_s / progress.REDRAW_S


def test_an_unknown_total_shows_what_is_done_without_a_bar() -> None:
    with terminal() as (stream, lines), ProgressBar("model", 0, stream, unit="MB") as bar:
        bar.update(12.4)
    assert lines[0].rstrip() == "model  0 MB"
    assert lines[-1] == "model  12 MB  0:00"


def test_after_an_error_the_line_is_ended_where_the_work_stopped() -> None:
    with terminal() as (stream, lines), pytest.raises(OSError, match="gone"), ProgressBar("model", 8, stream) as bar:
        bar.update(2)
        raise OSError("gone")
    assert lines[-1] == "model  [######..................]  25 %  0:00"


def test_a_narrow_terminal_and_a_strange_name_get_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((40, 20)))
    with terminal() as (stream, lines), ProgressBar(f"two\nlines\x1b[2J{'x' * 50}", 10, stream) as bar:
        bar.update(10)
    assert {len(line) for line in lines} == {39}
    assert all(line.startswith("two?lines?[2Jxx") for line in lines)


def test_nothing_is_written_where_nobody_looks_at_a_terminal() -> None:
    stream = io.StringIO()
    with ProgressBar("party.mp4", 10, stream) as bar:
        bar.update(5)
    assert stream.getvalue() == ""
