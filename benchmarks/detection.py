"""How many faces of photographs each detector finds, what it takes for a face, and how long it takes.

    python -m benchmarks detection --photos photos --no-faces landscapes

The truth is photos.csv, in the folder or beside it: a row for each face, with the columns file, x, y, width, height,
glasses (1 with spectacles) and, where wanted, hard (1: cut off, hidden or in profile, and counted apart).
"""

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np

from mien.detectors import FaceDetector, HaarDetector, open_detector
from mien.detectors.base import shrink
from mien.detectors.haar import load_cascade
from mien.faces import Box, Image
from mien.preprocess import to_gray
from mien.published import find_published
from mien.sources import IMAGE_SUFFIXES

KINDS = ("plain", "spectacles", "hard")
TRUTH = "photos.csv"
COLUMNS = ("file", "x", "y", "width", "height", "glasses")

SAME_FACE = 0.4
"""A box that overlaps a face so much (intersection over union), or has its centre in it, has found it: boxes of
different detectors are framed differently, and those of the truth were drawn loosely."""

CASCADES = ("frontalface_default", "frontalface_alt", "frontalface_alt2")
SIDES = (640, 320)

Truth = dict[str, list[tuple[Box, str]]]
"""File -> (face, one of `KINDS`)."""


class PlainCascade:
    """One of OpenCV's cascades with the arguments that tutorials give it.

    Args:
        name: of the cascade.
        max_side: the picture is shrunk until its longer side has at most this many pixels.
    """

    sees_color = False

    def __init__(self, name: str, max_side: int) -> None:
        self._cascade, self._max_side = load_cascade(name), max_side

    def detect(self, picture: Image) -> list[Box]:
        """Return the boxes of the faces in (H, W) uint8, in its pixels."""
        small, scale = shrink(picture, self._max_side)
        found = self._cascade.detectMultiScale(small, scaleFactor=1.1, minNeighbors=5)
        return [Box(*map(int, box)).scaled(1 / scale, 1 / scale) for box in found]


def make_detectors() -> dict[str, FaceDetector]:
    """Return the detectors to compare; those of YuNet where its model was fetched."""
    detectors: dict[str, FaceDetector] = {
        f"{name}, {side} pixels": PlainCascade(name, side) for name in CASCADES for side in SIDES
    }
    detectors |= {"HaarDetector (mien run)": HaarDetector(), "HaarDetector (mien image)": HaarDetector.for_stills()}
    if find_published("yunet") is not None:
        detectors["YuNet, 320 pixels (mien run)"] = open_detector("yunet")
        detectors["YuNet, 640 pixels (mien image)"] = open_detector("yunet", for_stills=True)
    return detectors


def measure_detection(
    detectors: dict[str, FaceDetector], photos: Path, no_faces: Path | None = None
) -> list[dict[str, Any]]:
    """Let detectors search the same pictures, on one thread.

    Args:
        detectors: by name.
        photos: folder with the pictures that `photos.csv` names.
        no_faces: folder with pictures without a face.

    Returns:
        For each detector {"detector", "found": {kind: [faces found, faces]}, "false_boxes": on the pictures without a
        face, None if there are none, "median_ms": of a photograph}.

    Raises:
        FileNotFoundError: there is no truth, or a picture is missing.
        ValueError: a picture cannot be read, or the truth lacks a column or has a value that is no number.
    """
    import cv2

    truth = read_truth(photos)
    faces = [_read_picture(photos / name) for name in truth]
    empty = None if no_faces is None else _read_pictures(no_faces)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return [_measure(name, detector, truth, faces, empty) for name, detector in detectors.items()]
    finally:
        cv2.setNumThreads(threads)


def read_truth(photos: Path) -> Truth:
    """Return the faces of each photograph.

    Raises:
        FileNotFoundError: there is no `photos.csv` in the folder or beside it.
        ValueError: it has no face, lacks a column, or has a value that is no number.
    """
    path = next((path for path in (photos / TRUTH, photos.parent / TRUTH) if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no {TRUTH} in {photos} or beside it: it says where faces are ({','.join(COLUMNS)})")
    truth: Truth = {}
    with open(path, newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise ValueError(f"{path} has no column {missing[0]!r}: allowed are {', '.join(COLUMNS)} and hard")
        for row in rows:
            try:
                box = Box(*(round(float(row[name])) for name in ("x", "y", "width", "height")))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {rows.line_num}: x, y, width and height must be numbers") from error
            kind = "hard" if row.get("hard") == "1" else "spectacles" if row["glasses"] == "1" else "plain"
            truth.setdefault(row["file"], []).append((box, kind))
    if not truth:
        raise ValueError(f"{path} has no face: it needs a row for each ({', '.join(COLUMNS)})")
    return truth


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    lines = [f"| detector | {' | '.join(KINDS)} | false boxes | median ms |", "|---" * (len(KINDS) + 3) + "|"]
    for result in results:
        found = " | ".join(f"{found} of {faces}" for found, faces in result["found"].values())
        false_boxes = "-" if result["false_boxes"] is None else result["false_boxes"]
        lines.append(f"| {result['detector']} | {found} | {false_boxes} | {result['median_ms']:.1f} |")
    return "\n".join(lines)


def _measure(
    name: str, detector: FaceDetector, truth: Truth, pictures: list[Image], empty: list[Image] | None
) -> dict[str, Any]:
    found = {kind: [0, 0] for kind in KINDS}
    times_ms = []
    for picture, faces in zip(pictures, truth.values(), strict=True):
        seen = _as_seen(detector, picture)
        detector.detect(np.zeros_like(seen))  # YuNet sets up its network for each new size of picture
        started_s = time.perf_counter()
        boxes = detector.detect(seen)
        times_ms.append(1000 * (time.perf_counter() - started_s))
        for face, kind in faces:
            found[kind][0] += any(face.has_inside(*box.centre) or box.overlap(face) >= SAME_FACE for box in boxes)
            found[kind][1] += 1
    false_boxes = None
    if empty is not None:
        false_boxes = sum(len(detector.detect(_as_seen(detector, picture))) for picture in empty)
    median_ms = round(float(np.median(times_ms)), 2)
    return {"detector": name, "found": found, "false_boxes": false_boxes, "median_ms": median_ms}


def _as_seen(detector: FaceDetector, picture: Image) -> Image:
    """Return a picture in colour or gray, as the detector wants it."""
    return picture if detector.sees_color else to_gray(picture)


def _read_pictures(folder: Path) -> list[Image]:
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no pictures in {folder}: allowed are {', '.join(IMAGE_SUFFIXES)}")
    return [_read_picture(file) for file in files]


def _read_picture(path: Path) -> Image:
    import cv2

    if not path.is_file():
        raise FileNotFoundError(f"no picture at {path}: {TRUTH} names it")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path} cannot be read as a picture: give a .jpg, .png or the like")
    return picture
