"""How many faces of photographs each detector finds, what it takes for a face, and how long it takes.

    python -m benchmarks detection --photos photos --no-faces landscapes

The truth is photos.csv, in the folder or beside it: a row for each face, with the columns file, x, y, width, height,
glasses (1 with spectacles) and, where wanted, hard (1: cut off, hidden or in profile, and counted apart).
"""

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.figures import name_points, new_figure
from benchmarks.statistics import load_scipy_stats, share_interval
from mien.detectors import FaceDetector, HaarDetector, open_detector
from mien.detectors.base import shrink
from mien.detectors.haar import load_cascade
from mien.faces import Box, Image
from mien.preprocess import to_gray
from mien.published import find_published
from mien.sources import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("plain", "spectacles", "hard")
TRUTH = "photos.csv"
COLUMNS = ("file", "x", "y", "width", "height", "glasses")

SAME_FACE = 0.4
"""A box that overlaps a face so much (intersection over union), or has its centre in it, has found it: boxes of
different detectors are framed differently, and those of the truth were drawn loosely."""

TICKS_MS = [digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5)]

CASCADES = ("frontalface_default", "frontalface_alt", "frontalface_alt2")
SIDES = (640, 320)

NO_YUNET = "its model is not here: `mien models fetch yunet` brings it"

Truth = dict[str, list[tuple[Box, str]]]
"""File -> (face, one of `KINDS`)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two folders."""
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="with photos.csv in it or beside it")
    parser.add_argument("--no-faces", type=Path, metavar="DIR", help="pictures without a face, for false boxes")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all detectors; see `measure_detection` for what comes out and what is raised."""
    detectors = make_detectors()
    print(f"measuring {len(detectors)} detectors, which takes minutes ...", file=sys.stderr)
    results = measure_detection(detectors, arguments.photos, arguments.no_faces)
    if find_published("yunet") is None:
        results["not_measured"] = [{"peer": "YuNet", "why": NO_YUNET}]
    return results


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


def measure_detection(detectors: dict[str, FaceDetector], photos: Path, no_faces: Path | None = None) -> dict[str, Any]:
    """Let detectors search the same pictures, on one thread.

    Args:
        detectors: by name.
        photos: folder with the pictures that `photos.csv` names.
        no_faces: folder with pictures without a face.

    Returns:
        {"photos": number of them, "no_faces": number or None, "detectors": [{"detector", "recalls": [{"name": one of
        `KINDS`, "found", "faces", "recall", "recall_from" and "recall_to": its 95 % interval, "recall_interval_95":
        half the width of it}], "false_boxes": on the pictures without a face, None if there are none, "median_ms":
        of a photograph}]}.

    Raises:
        FileNotFoundError: there is no truth, or a picture is missing.
        ValueError: a picture cannot be read, or the truth is damaged.
        ImportError: SciPy is not installed.
    """
    import cv2

    truth = read_truth(photos)
    faces = [_read_picture(photos / name) for name in truth]
    empty = None if no_faces is None else _read_pictures(no_faces)
    load_scipy_stats()  # if SciPy is missing, say so before measuring
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        measured = [_measure(name, detector, truth, faces, empty) for name, detector in detectors.items()]
    finally:
        cv2.setNumThreads(threads)
    return {"photos": len(faces), "no_faces": None if empty is None else len(empty), "detectors": measured}


def recall_of(kind: str, found: int, faces: int) -> dict[str, Any]:
    """Return the recall of a kind of faces with its exact 95 % interval; None for each where there are no faces."""
    counts = {"name": kind, "found": found, "faces": faces}
    if not faces:
        return counts | dict.fromkeys(("recall", "recall_from", "recall_to", "recall_interval_95"))
    low, high = share_interval(found, faces)
    return counts | {
        "recall": round(found / faces, 4),
        "recall_from": round(low, 4),
        "recall_to": round(high, 4),
        "recall_interval_95": round((high - low) / 2, 4),
    }


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


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table, with the 95 % intervals of recall."""
    lines = [f"| detector | {' | '.join(KINDS)} | false boxes | median ms |", "|---" * (len(KINDS) + 3) + "|"]
    for detector in results["detectors"]:
        recalls = " | ".join(_recall_cell(recall) for recall in detector["recalls"])
        false_boxes = "-" if detector["false_boxes"] is None else detector["false_boxes"]
        lines.append(f"| {detector['detector']} | {recalls} | {false_boxes} | {detector['median_ms']:.1f} |")
    empty = "no pictures without a face" if results["no_faces"] is None else f"{results['no_faces']} without a face"
    lines += ["", f"{results['photos']} photographs, {empty}; in brackets, the exact 95 % interval of recall."]
    lines += ["\n{peer} was not measured: {why}.".format(**part) for part in results.get("not_measured", [])]
    return "\n".join(lines)


def plots(results: dict[str, Any]) -> "dict[str, Figure]":
    """Draw recall against milliseconds, without spectacles and with.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = [kind for kind in ("plain", "spectacles") if _points(results, kind)]
    if not kinds:
        return {}
    figure = new_figure(10, 5 * len(kinds))
    panels = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    for panel, kind in zip(panels, kinds, strict=True):
        _draw(panel, kind, _points(results, kind))
    return {"recall_against_latency": figure}


def _recall_cell(recall: dict[str, Any]) -> str:
    if not recall["faces"]:
        return "-"
    interval = f"{100 * recall['recall_from']:.0f}-{100 * recall['recall_to']:.0f} %"
    return f"{recall['found']} of {recall['faces']} ({interval})"


def _points(results: dict[str, Any], kind: str) -> dict[str, tuple[float, dict[str, Any]]]:
    """Return {detector: (milliseconds, its recall)} of a kind of faces, if there were any."""
    return {
        detector["detector"]: (max(detector["median_ms"], 0.01), recall)  # 0 has no place on a logarithmic axis
        for detector in results["detectors"]
        for recall in detector["recalls"]
        if recall["name"] == kind and recall["faces"]
    }


def _draw(panel: "Axes", kind: str, points: dict[str, tuple[float, dict[str, Any]]]) -> None:
    for median_ms, recall in points.values():
        panel.plot([median_ms] * 2, [100 * recall["recall_from"], 100 * recall["recall_to"]], color="lightgray")
        panel.scatter(median_ms, 100 * recall["recall"], s=45, color="tab:blue", zorder=3)
        faces = recall["faces"]
    times_ms = [median_ms for median_ms, _ in points.values()]
    panel.set_xscale("log")
    panel.set_xlim(min(times_ms) / 1.5, max(times_ms) * 5)  # room for the name of the slowest
    panel.set_xticks([tick for tick in TICKS_MS if min(times_ms) / 1.5 <= tick <= max(times_ms) * 4])
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
    panel.set_xlabel("median of a photograph, one thread, ms (logarithmic)")
    panel.set_ylabel("faces found, %, and 95 % interval")
    panel.set_title(f"{faces} faces {'with' if kind == 'spectacles' else 'without'} spectacles", fontsize=11)
    panel.grid(alpha=0.3, which="both")
    name_points(panel.figure, panel, [(name, (ms, 100 * recall["recall"])) for name, (ms, recall) in points.items()])


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
    recalls = [recall_of(kind, *counts) for kind, counts in found.items()]
    return {"detector": name, "recalls": recalls, "false_boxes": false_boxes, "median_ms": median_ms}


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
