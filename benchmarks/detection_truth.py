"""What is in the photographs by which face detectors are judged, and when a face counts as found.

photos.csv, in the folder of the photographs or beside it, has a row for each face, with the columns file, x, y, width,
height, glasses (1 with spectacles) and, where wanted, hard (1: cut off, hidden or in profile, and counted apart).
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.faces import Box, Image
from mien.sources import IMAGE_SUFFIXES
from mien.sources.images import read_image

KINDS = ("plain", "spectacles", "hard")
TRUTH = "photos.csv"
COLUMNS = ("file", "x", "y", "width", "height", "glasses")

SAME_FACE = 0.4
"""A box that overlaps a face so much (intersection over union), or has its centre in it, has found it: boxes of
different detectors are framed differently, and those of the truth were drawn loosely."""

Truth = dict[str, list[tuple[Box, str]]]
"""File -> (face, one of `KINDS`)."""


@dataclass(frozen=True)
class Album:
    """Pictures to find faces in, (H, W, 3) BGR each.

    Attributes:
        truth: the faces of the photographs.
        photos: by name, those of `truth`.
        empty: by name, pictures without a face; None: nobody gave any.
    """

    truth: Truth
    photos: dict[str, Image]
    empty: dict[str, Image] | None


def is_found(face: Box, boxes: Iterable[Box]) -> bool:
    """Whether one of the boxes is on a face."""
    return any(is_on(face, box) for box in boxes)


def is_on(face: Box, box: Box) -> bool:
    """Whether a box is on a face."""
    return face.has_inside(*box.centre) or box.overlap(face) >= SAME_FACE


def read_truth(photos: Path) -> Truth:
    """Return the faces of each photograph.

    Raises:
        FileNotFoundError: there is no `photos.csv` in the folder or beside it.
        ValueError: it is no CSV, has no face, lacks a column, or has a value that is not allowed.
    """
    path = next((path for path in (photos / TRUTH, photos.parent / TRUTH) if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no {TRUTH} in {photos} or beside it: it says where faces are ({','.join(COLUMNS)})")
    truth: Truth = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise ValueError(f"{path} has no column {missing[0]!r}: allowed are {', '.join(COLUMNS)} and hard")
            for row in rows:
                truth.setdefault(row["file"], []).append(_read_face(row, f"{path}, line {rows.line_num}"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV in UTF-8 ({error}): save it as one") from error
    if not truth:
        raise ValueError(f"{path} has no face: it needs a row for each ({', '.join(COLUMNS)})")
    return truth


def read_album(photos: Path, no_faces: Path | None = None) -> Album:
    """Read the pictures.

    Args:
        photos: folder with the pictures that `photos.csv` names.
        no_faces: folder with pictures without a face.

    Raises:
        FileNotFoundError: there is no truth, or a picture is missing.
        ValueError: a picture cannot be read, or the truth is damaged.
    """
    truth = read_truth(photos)
    faces = {name: _read_picture(photos / name) for name in truth}
    return Album(truth, faces, None if no_faces is None else _read_pictures(no_faces))


def _read_pictures(folder: Path) -> dict[str, Image]:
    """Return the pictures of a folder by their names, (H, W, 3) BGR each.

    Raises:
        FileNotFoundError: there is none.
        ValueError: one cannot be read.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no pictures in {folder}: allowed are {', '.join(IMAGE_SUFFIXES)}")
    return {file.name: _read_picture(file) for file in files}


def _read_picture(path: Path) -> Image:
    """Return a picture, (H, W, 3) BGR.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no picture at {path}: {TRUTH} names it")
    picture = read_image(path)
    if picture is None:
        raise ValueError(f"{path} cannot be read as a picture: give a .jpg, .png or the like")
    return picture


def _read_face(row: dict[str, Any], where: str) -> tuple[Box, str]:
    try:
        box = Box(*(round(float(row[name])) for name in ("x", "y", "width", "height")))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: x, y, width and height must be numbers") from error
    if box.width < 1 or box.height < 1:
        raise ValueError(f"{where}: width and height are {box.width} and {box.height}, allowed is 1 or more")
    if row["glasses"] not in ("0", "1"):
        raise ValueError(f"{where}: glasses is {row['glasses']!r}, allowed are 0 and 1")
    return box, "hard" if row.get("hard") == "1" else "spectacles" if row["glasses"] == "1" else "plain"
