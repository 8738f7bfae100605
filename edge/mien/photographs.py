"""Photographs with labelled faces, for the face finder: what it learns from, is tuned on and is judged by.

Training, conversion and benchmarks read them here, so that all three hold back the same pictures.
"""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.faces import Image
from mien.sources.images import read_image

PARTS = ("training", "validation", "test")
HELD_BACK = {"validation": 0.08, "test": 0.08}
"""Share of the blocks in each part but the first."""

BLOCK = 25
"""Neighbours in a source are often of one person or one film: blocks of so many files stay together."""

LANDMARKS = 5
"""Right eye, left eye, tip of the nose, right and left corner of the mouth; of the person, not of the picture."""


@dataclass(frozen=True)
class Photograph:
    """A picture and the faces in it.

    Attributes:
        file: its path.
        boxes: (N, 4) float32: left, top, width, height in pixels, from the brows to the chin.
        landmarks: (N, 5, 2) float32: x, y in pixels, in the order of `LANDMARKS`; NaN where nobody marked them.
        ignored: (M, 4) float32, what is neither face nor background.
    """

    file: Path
    boxes: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]
    ignored: npt.NDArray[np.float32]

    def read(self) -> Image:
        """Return the picture, (H, W) uint8.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it cannot be read as a picture.
        """
        if not self.file.is_file():
            raise FileNotFoundError(f"no picture at {self.file}: faces.csv or negatives.csv names it")
        picture = read_image(self.file, is_gray=True)
        if picture is None:
            raise ValueError(f"{self.file} cannot be read as a picture: remove its rows or bring it again")
        return picture


def read_photographs(folder: str | Path, part: str) -> list[Photograph]:
    """Read one part of a folder of labelled photographs.

    The folder holds `faces.csv` (file, x, y, width, height, lm1x, lm1y, ... lm5y), `ignore.csv` (file, x, y, width,
    height; may be missing), `negatives.csv` (file: pictures without a face; may be missing), and `images`.

    Args:
        folder: where they are.
        part: one of `PARTS`. Which pictures are held back follows from their names alone.

    Raises:
        FileNotFoundError: there is no `faces.csv`.
        ValueError: a file is damaged, or there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}: allowed are {', '.join(PARTS)}")
    folder = Path(folder)
    if not (folder / "faces.csv").is_file():
        raise FileNotFoundError(f"no faces.csv in {folder}: give a folder with faces.csv, negatives.csv and images")
    faces = _read_rows(folder / "faces.csv", ("file", "x", "y", "width", "height"))
    ignored = _read_rows(folder / "ignore.csv", ("file", "x", "y", "width", "height"))
    negatives = _read_rows(folder / "negatives.csv", ("file",))
    parts = assign_parts({*faces, *negatives})
    return [
        Photograph(
            folder / "images" / name,
            _boxes(faces.get(name, [])),
            _landmarks(faces.get(name, [])),
            _boxes(ignored.get(name, [])),
        )
        for name in sorted({*faces, *negatives})
        if parts[name] == part
    ]


def hash_photographs(folder: str | Path) -> str:
    """Return the hash of what the CSV files of a folder say, hexadecimal."""
    found = hashlib.sha256()
    for name in ("faces.csv", "ignore.csv", "negatives.csv"):
        if (path := Path(folder) / name).is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def assign_parts(names: Iterable[str]) -> dict[str, str]:
    """Return the part of each file: blocks of neighbours of each source, drawn at random once and for all.

    The source is what a name begins with: "helmet" of helmet_000123.jpg.
    """
    sources: dict[str, list[str]] = {}
    for name in sorted(names):
        sources.setdefault(name.rpartition("_")[0], []).append(name)
    parts = {}
    for source, files in sources.items():
        count = -(-len(files) // BLOCK)
        # A seed of the source's own: another source more or less moves nothing.
        order = np.random.default_rng(list(source.encode())).permutation(count)
        of_block, start = np.full(count, PARTS[0], dtype=object), 0
        for part, share in HELD_BACK.items():
            end = start + max(1, round(share * count)) if count > len(HELD_BACK) else start
            of_block[order[start:end]] = part
            start = end
        parts.update({name: str(of_block[index // BLOCK]) for index, name in enumerate(files)})
    return parts


def _read_rows(path: Path, needed: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each file that a CSV names; none where there is no CSV."""
    rows: dict[str, list[dict[str, str]]] = {}
    if not path.is_file():
        return rows
    with open(path, newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        try:
            if missing := [name for name in needed if name not in (reader.fieldnames or ())]:
                raise ValueError(f"{path} has no column {missing[0]!r}: allowed are {', '.join(needed)}")
            for row in reader:
                rows.setdefault(row["file"], []).append(row)
        except csv.Error as error:
            raise ValueError(f"{path} is damaged ({error}): restore it") from error
    return rows


def _boxes(rows: list[dict[str, str]]) -> npt.NDArray[np.float32]:
    try:
        numbers = [[float(row[name]) for name in ("x", "y", "width", "height")] for row in rows]
    except (TypeError, ValueError) as error:
        raise ValueError(f"a box of {rows[0]['file']} is no box ({error}): allowed are four numbers") from error
    boxes = np.array(numbers, np.float32).reshape(-1, 4)
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()):
        raise ValueError(f"a box of {rows[0]['file']} is no box ({numbers}): allowed are a width and a height above 0")
    return boxes


def _landmarks(rows: list[dict[str, str]]) -> npt.NDArray[np.float32]:
    names = [f"lm{number}{axis}" for number in range(1, LANDMARKS + 1) for axis in "xy"]
    try:
        numbers = [[float(row.get(name) or "nan") for name in names] for row in rows]
    except ValueError as error:
        raise ValueError(f"a landmark of {rows[0]['file']} is no number ({error})") from error
    return np.array(numbers, np.float32).reshape(-1, LANDMARKS, 2)
