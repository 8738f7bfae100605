"""A contact sheet of what a detector missed, and of what it took for a face."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.detection_truth import Album, is_found, is_on
from benchmarks.figures import new_figure
from mien.faces import Box, Image
from mien.files import write_whole

COLUMNS = 6
MOST_TILES = 24
MOST_MISSES = 16
"""So many missed faces at most, as long as there is something else to show."""

TILE = 140
SURROUNDINGS = 2.4
"""A tile shows so many times the side of its face."""

MISSED, FALSE, UNLABELLED = "missed", "false", "not labelled"

TRUTH_COLOR, FOUND_COLOR = "#56b4e9", "#e69f00"
"""Colour-blind people can tell them apart (Okabe and Ito 2008, *Color Universal Design*)."""


@dataclass(frozen=True)
class Tile:
    """A part of a picture.

    Attributes:
        kind: why it is shown.
        caption: of which picture, and what kind of face.
        picture: (TILE, TILE, 3) BGR.
        truth, found: boxes in its pixels.
    """

    kind: str
    caption: str
    picture: Image
    truth: tuple[Box, ...]
    found: tuple[Box, ...]


def write_misses(
    folder: Path, name: str, album: Album, photos: Mapping[str, Sequence[Box]], empty: Mapping[str, Sequence[Box]]
) -> Path | None:
    """Write misses_NAME.png into a folder, which is made if it is missing; None if there is nothing to show.

    Args:
        folder: where to.
        name: of the detector.
        album: what it searched.
        photos, empty: what it found in each picture.

    Raises:
        OSError: it cannot be written.
        ImportError: matplotlib is not installed.
    """
    tiles = list_tiles(album, photos, empty)
    if not tiles:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"misses_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}.png"
    write_whole(path, partial(_draw(name, tiles).savefig, dpi=110))
    return path


def list_tiles(album: Album, photos: Mapping[str, Sequence[Box]], empty: Mapping[str, Sequence[Box]]) -> list[Tile]:
    """Return all missed faces, then all boxes on pictures without a face, then those on no labelled face."""
    missed, unlabelled = [], []
    for name, faces in album.truth.items():
        boxes, picture = photos[name], album.photos[name]
        truth = [face for face, _ in faces]
        for face, kind in faces:
            if not is_found(face, boxes):
                missed.append(_cut(MISSED, f"{name}, {kind}", picture, face, truth, boxes))
        for box in boxes:
            if not any(is_on(face, box) for face in truth):
                unlabelled.append(_cut(UNLABELLED, name, picture, box, truth, boxes))
    false = [
        _cut(FALSE, name, picture, box, (), empty[name])
        for name, picture in (album.empty or {}).items()
        for box in empty[name]
    ]
    return missed + false + unlabelled


def choose_tiles(tiles: Sequence[Tile]) -> list[Tile]:
    """Return at most `MOST_TILES`: missed faces first, but not they alone."""
    missed = [tile for tile in tiles if tile.kind == MISSED]
    others = [tile for tile in tiles if tile.kind != MISSED]
    room = max(MOST_MISSES, MOST_TILES - len(others))
    chosen = missed[:room]
    return chosen + others[: MOST_TILES - len(chosen)]


def _cut(kind: str, caption: str, picture: Image, centre: Box, truth: Iterable[Box], found: Iterable[Box]) -> Tile:
    import cv2

    side = max(24, round(SURROUNDINGS * max(centre.width, centre.height)))
    left, top = (round(middle - side / 2) for middle in centre.centre)
    right, bottom = left + side, top + side
    height, width = picture.shape[:2]
    lacks = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
    part = picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    part = cv2.copyMakeBorder(part, *lacks, cv2.BORDER_CONSTANT, value=(90, 90, 90))
    how = cv2.INTER_AREA if side > TILE else cv2.INTER_LINEAR
    scale = TILE / side
    boxes = [tuple(box.moved(-left, -top).scaled(scale, scale) for box in some) for some in (truth, found)]
    return Tile(kind, caption, cv2.resize(part, (TILE, TILE), interpolation=how), *boxes)


def _draw(name: str, tiles: Sequence[Tile]) -> Any:
    """Draw tiles in rows, with the truth dashed and what was found in whole lines."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    chosen = choose_tiles(tiles)
    rows = -(-len(chosen) // COLUMNS)
    figure = new_figure(1.6 * COLUMNS, 1.9 * rows + 0.7)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for panel, tile in zip(panels, chosen, strict=False):
        panel.imshow(tile.picture[..., ::-1])
        panel.set_title(f"{tile.kind}\n{tile.caption}", fontsize=7)
        for boxes, color, style in ((tile.truth, TRUTH_COLOR, "--"), (tile.found, FOUND_COLOR, "-")):
            for box in boxes:
                panel.add_patch(Rectangle(box[:2], *box[2:], fill=False, color=color, linestyle=style, linewidth=1.5))
    counts = [f"{sum(tile.kind == kind for tile in tiles)} {kind}" for kind in (MISSED, FALSE, UNLABELLED)]
    shown = "" if len(chosen) == len(tiles) else f"; {len(chosen)} of them are shown"
    figure.suptitle(f"{name}: {', '.join(counts)}{shown}", fontsize=10)
    lines = [
        Line2D([], [], color=TRUTH_COLOR, linestyle="--", label="labelled face"),
        Line2D([], [], color=FOUND_COLOR, label="found"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, fontsize=8)
    return figure
