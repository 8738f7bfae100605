"""The emotions of a video over time, as one picture: a stacked area for each person, with thumbnails of the face."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.clip import (
    THUMBNAIL_SIDE,
    ClipSummary,
    PersonSummary,
    Thumbnail,
    clock,
    counted,
    facts,
    split_persons,
    top_emotions,
)
from mien.emotions import EMOTIONS
from mien.faces import Image
from mien.outputs.draw import COLORS

SMOOTHING_S = 0.8
"""Each moment shows the mean of so many seconds around it; single frames tremble."""

MOST_PANELS = 4

WIDTH, LEFT, PLOT_WIDTH, PLOT_HEIGHT = 1280, 64, 1008, 168
HEAD_HEIGHT, PANEL_HEIGHT, FOOT_HEIGHT = 124, 340, 8
THUMBNAILS_TOP, PLOT_TOP = 36, 126
"""Pixels; the last two below the top of a panel."""

SCALE = 2
"""Drawn so many times larger, then shrunk: smooth edges and letters."""

INK, PALE, GRID = (40, 40, 40), (110, 110, 110), (215, 215, 215)
TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000, 86400)
MOST_TICKS = 11


def draw_timeline(name: str, summary: ClipSummary) -> Image:
    """Return the picture, (H, 1280, 3) BGR uint8.

    Args:
        name: of the video; OpenCV's font is ASCII, so letters lose their accents, and those that are not Latin
            become "?".
        summary: of a video with at least one face.
    """
    assert summary.mean is not None
    shown, _ = split_persons(summary)
    shown = sorted(sorted(shown, key=lambda person: -person.seen_s)[:MOST_PANELS], key=lambda person: person.track_id)
    hidden = [person for person in summary.persons if person not in shown]
    foot = FOOT_HEIGHT + (24 if hidden else 0)
    canvas = _Canvas(HEAD_HEIGHT + PANEL_HEIGHT * len(shown) + foot)
    _draw_head(canvas, name, summary)
    for row, person in enumerate(shown):
        _draw_panel(canvas, HEAD_HEIGHT + row * PANEL_HEIGHT, person, summary.length_s)
    if hidden:
        seen_s = sum(person.seen_s for person in hidden)
        text = f"Not drawn: {counted(len(hidden), 'more person')}, seen for {seen_s:.1f} s in all"
        canvas.text(text, LEFT, canvas.height - FOOT_HEIGHT - 4, color=PALE)
    return canvas.finish()


class _Canvas:
    """A white picture in natural pixels, which is drawn `SCALE` times larger; pictures are put in at the end."""

    def __init__(self, height: int) -> None:
        self.height = height
        self._large = np.full((SCALE * height, SCALE * WIDTH, 3), 255, np.uint8)
        self._pictures: list[tuple[int, int, Image]] = []

    def text(
        self,
        text: str,
        x: float,
        y: float,
        size: float = 0.56,
        color: tuple[int, int, int] = INK,
        stroke: int = 2,
        align: float = 0,
    ) -> float:
        """Write a text whose foot is at y; x is its left end, middle (align 0.5) or right end (1). Return its width."""
        import cv2

        parts = unicodedata.normalize("NFKD", text)  # an umlaut is a letter and its dots, which are left out
        ascii_text = "".join(part for part in parts if not unicodedata.combining(part)).encode("ascii", "replace")
        font = cv2.FONT_HERSHEY_SIMPLEX
        (width, _), _ = cv2.getTextSize(ascii_text.decode(), font, SCALE * size, stroke)
        place = round(SCALE * x - align * width), round(SCALE * y)
        cv2.putText(self._large, ascii_text.decode(), place, font, SCALE * size, color, stroke, cv2.LINE_AA)
        return width / SCALE

    def box(self, x: float, y: float, width: float, height: float, color: tuple[int, int, int]) -> None:
        left, top, right, bottom = (round(SCALE * value) for value in (x, y, x + width, y + height))
        self._large[top:bottom, left:right] = color

    def line(self, start: tuple[float, float], end: tuple[float, float], color: tuple[int, int, int]) -> None:
        import cv2

        first, last = ((round(SCALE * x), round(SCALE * y)) for x, y in (start, end))
        cv2.line(self._large, first, last, color, SCALE, cv2.LINE_AA)

    def area(self, x: int, y: int, picture: Image, is_drawn: npt.NDArray[np.bool_]) -> None:
        """Put in what was drawn in large pixels, where it is not empty."""
        height, width = picture.shape[:2]
        place = self._large[SCALE * y : SCALE * y + height, SCALE * x : SCALE * x + width]
        place[is_drawn] = picture[is_drawn]

    def picture(self, x: int, y: int, picture: Image) -> None:
        """Put in a picture of natural size."""
        self._pictures.append((x, y, picture))

    def finish(self) -> Image:
        import cv2

        small = cv2.resize(self._large, (WIDTH, self.height), interpolation=cv2.INTER_AREA)
        for x, y, picture in self._pictures:
            small[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        return small


def _draw_head(canvas: _Canvas, name: str, summary: ClipSummary) -> None:
    assert summary.mean is not None
    canvas.text(name if len(name) <= 60 else f"{name[:57]}...", LEFT, 44, 0.95, stroke=4)
    canvas.text(facts(summary), LEFT, 72, color=PALE)
    best = EMOTIONS[int(summary.mean.argmax())]
    canvas.box(LEFT, 87, 16, 16, COLORS[best])
    canvas.text(f"Overall: {top_emotions(summary.mean)}", LEFT + 26, 102, 0.7, stroke=3)


def _draw_panel(canvas: _Canvas, top: int, person: PersonSummary, length_s: float) -> None:
    width = canvas.text(f"Person {person.track_id}", LEFT, top + 22, 0.66, stroke=3)
    times = f"{clock(person.starts_s[0])} - {clock(person.ends_s[-1])}, seen for {person.seen_s:.1f} s"
    canvas.text(times, LEFT + width + 16, top + 22, color=PALE)
    plot_top = top + PLOT_TOP
    _draw_axes(canvas, plot_top, length_s)
    _draw_area(canvas, plot_top, person, length_s)
    _draw_thumbnails(canvas, top + THUMBNAILS_TOP, plot_top, person.thumbnails, length_s)
    _draw_legend(canvas, plot_top, person.mean)


def _draw_axes(canvas: _Canvas, top: int, length_s: float) -> None:
    bottom = top + PLOT_HEIGHT
    for share in (0, 50, 100):
        y = bottom - share / 100 * PLOT_HEIGHT
        canvas.line((LEFT - 5, y), (LEFT + PLOT_WIDTH, y), GRID)
        canvas.text(f"{share} %", LEFT - 10, y + 5, 0.45, PALE, align=1)
    step_s = next((step for step in TICKS_S if length_s / step <= MOST_TICKS), TICKS_S[-1])
    for number in range(int(length_s / step_s + 1e-9) + 1):
        x = LEFT + PLOT_WIDTH * number * step_s / length_s
        canvas.line((x, bottom), (x, bottom + 6), PALE)
        canvas.text(_tick(number * step_s, step_s, length_s), x, bottom + 24, 0.5, PALE, align=0.5)


def _tick(time_s: float, step_s: float, length_s: float) -> str:
    if length_s > 60:
        return clock(time_s, 0)
    return f"{time_s:.1f} s" if step_s < 1 else f"{time_s:.0f} s"


def _draw_area(canvas: _Canvas, top: int, person: PersonSummary, length_s: float) -> None:
    """Draw the seven probabilities on top of each other, "angry" uppermost; they fill 100 % where the face was seen."""
    is_seen, means = smoothed(person, length_s, SCALE * PLOT_WIDTH)
    rows = SCALE * PLOT_HEIGHT
    edges = np.cumsum(means, axis=1) * rows  # (columns, 7): where each emotion ends, from above
    emotion = (np.arange(rows)[:, None, None] + 0.5 > edges[None, :, :-1]).sum(axis=2)
    palette = np.array([COLORS[name] for name in EMOTIONS], np.uint8)
    canvas.area(LEFT, top, palette[emotion], np.broadcast_to(is_seen, emotion.shape))


def smoothed(
    person: PersonSummary, length_s: float, columns: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return for each column of a plot whether the person was seen in its time, and the mean around it.

    Returns:
        (columns,) bool, and (columns, 7) float64, which says nothing where the person was not seen.
    """
    column_s = length_s / columns
    middle_s = (np.arange(columns) + 0.5) * column_s
    first, end = _within(person, middle_s, column_s / 2)
    is_seen = end > first
    frames_s = (person.starts_s + person.ends_s) / 2
    first, end = _within(person, frames_s, max(SMOOTHING_S / 2, 2 * column_s))
    sums = np.vstack((np.zeros(len(EMOTIONS)), np.cumsum(person.probabilities, axis=0, dtype=np.float64)))
    means = (sums[end] - sums[first]) / (end - first)[:, None]
    return is_seen, np.column_stack([np.interp(middle_s, frames_s, mean) for mean in means.T])


def _within(
    person: PersonSummary, times_s: npt.NDArray[np.floating[Any]], half_s: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which frames (from, up to) were shown within `half_s` of each time."""
    first = np.searchsorted(person.ends_s, times_s - half_s, side="right")
    return first, np.searchsorted(person.starts_s, times_s + half_s)


def _draw_thumbnails(
    canvas: _Canvas, top: int, plot_top: int, thumbnails: Sequence[Thumbnail], length_s: float
) -> None:
    """Fill a row with the faces that are nearest to its places, with a line from each to its moment."""
    half, last = THUMBNAIL_SIDE // 2, -1
    moments = [LEFT + PLOT_WIDTH * thumbnail.time_s / length_s for thumbnail in thumbnails]
    for left in range(LEFT, LEFT + PLOT_WIDTH, THUMBNAIL_SIDE):
        near = [number for number, moment in enumerate(moments) if number > last and abs(moment - left - half) <= half]
        if not near:
            continue
        last = min(near, key=lambda number: abs(moments[number] - left - half))
        picture = thumbnails[last].picture
        framed = np.full_like(picture, 255)
        framed[:, 1:-1] = COLORS[thumbnails[last].emotion]
        framed[3:-3, 4:-4] = picture[3:-3, 4:-4]
        canvas.picture(left, top, framed)
        canvas.line((left + half, top + THUMBNAIL_SIDE), (moments[last], plot_top), PALE)


def _draw_legend(canvas: _Canvas, top: int, mean: npt.NDArray[np.float64]) -> None:
    left, row_height, best = LEFT + PLOT_WIDTH + 20, PLOT_HEIGHT / len(EMOTIONS), int(mean.argmax())
    for row, name in enumerate(EMOTIONS):
        y = top + row * row_height
        canvas.box(left, y + 5, 14, 14, COLORS[name])
        stroke = 3 if row == best else 2
        canvas.text(name, left + 24, y + 17, stroke=stroke)
        canvas.text(f"{100 * mean[row]:.0f} %", WIDTH - 16, y + 17, stroke=stroke, align=1)
