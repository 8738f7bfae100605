"""How many faces each detector finds, what it takes for a face, and how long it takes.

    python -m benchmarks detection --photos photos --no-faces landscapes

`detection_truth` says how the photographs are labelled. `--faces` adds average precision on photographs that the face
finder has not learnt from, `--clips` the frames of videos in which a face is found.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.candidates import BASELINE, NO_YUNET, Candidate, RawYuNet, list_candidates, list_raw_candidates
from benchmarks.detection_clips import measure_clips
from benchmarks.detection_misses import write_misses
from benchmarks.detection_precision import measure_precision
from benchmarks.detection_report import plots, table
from benchmarks.detection_truth import KINDS, Album, is_found, read_album
from benchmarks.statistics import load_scipy_stats, share_interval
from mien.detectors import FaceDetector
from mien.faces import Box, Image
from mien.photographs import read_photographs
from mien.preprocess import to_gray
from mien.published import find_published

__all__ = ["add_arguments", "plots", "run", "table"]

FRAME = (320, 240)
"""Width and height of the frame that all detectors are timed on: the first photograph, scaled and cut to it."""

FRAME_ROUNDS = 21


@dataclass
class Measured:
    """What a detector did with an album.

    Attributes:
        photos, empty: name of a picture -> boxes.
        median_ms: threads -> time of a photograph.
        frame_ms: threads -> time of the frame that all are timed on.
    """

    photos: dict[str, list[Box]]
    empty: dict[str, list[Box]]
    median_ms: dict[int, float]
    frame_ms: dict[int, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folders."""
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="with photos.csv in it or beside it")
    parser.add_argument("--no-faces", type=Path, metavar="DIR", help="pictures without a face, for false boxes")
    parser.add_argument("--faces", type=Path, metavar="DIR", help="labelled for training: those held back are judged")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="videos of people, judged by YuNet")
    parser.add_argument("--misses", type=Path, metavar="DIR", help="draw what our finder misses and what it makes up")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all detectors; see `describe`, `measure_precision` and `measure_clips` for what comes out.

    Raises:
        FileNotFoundError: a folder, the truth or a picture is missing; `--clips` without YuNet's model.
        ValueError: a picture or clip cannot be read, or the truth is damaged.
        ImportError: SciPy or, for `--misses`, matplotlib is not installed.
    """
    album = read_album(arguments.photos, arguments.no_faces)
    held_back = read_photographs(arguments.faces, "test") if arguments.faces else None
    yunet = find_published("yunet")
    if arguments.clips and yunet is None:
        raise FileNotFoundError(f"--clips are judged by YuNet: {NO_YUNET}")
    candidates, not_measured = list_candidates()
    print(f"measuring {len(candidates)} detectors, which takes minutes ...", file=sys.stderr)
    measured = search_album(candidates, album)
    results: dict[str, Any] = describe(measured, album)
    if held_back is not None:
        results["held_back"] = measure_precision(list_raw_candidates(), held_back)
    if arguments.clips and yunet is not None:
        live = {one.name: one.open(1) for one in candidates if one.is_live}
        results["clips"] = measure_clips(live, RawYuNet(yunet), arguments.clips)
    if arguments.misses:
        for name in (one.name for one in candidates if one.is_ours):
            write_misses(arguments.misses, name, album, measured[name].photos, measured[name].empty)
    return results | {"not_measured": not_measured}


def search_album(candidates: Sequence[Candidate], album: Album) -> dict[str, Measured]:
    """Let detectors search the same pictures, timed on one thread and on two; what they find on one counts.

    Raises:
        ImportError: SciPy is not installed.
    """
    import cv2

    load_scipy_stats()  # if SciPy is missing, say so before measuring
    measured = {one.name: Measured({}, {}, {}, {}) for one in candidates}
    threads_before = cv2.getNumThreads()
    try:
        for threads in (2, 1):
            cv2.setNumThreads(threads)
            detectors = {one.name: one.open(threads) for one in candidates}
            for name, detector in detectors.items():
                measured[name].photos, measured[name].median_ms[threads] = _search(detector, album.photos)
            for name, frame_ms in _time_frame(detectors, next(iter(album.photos.values()))).items():
                measured[name].frame_ms[threads] = frame_ms
        for name, detector in detectors.items():
            measured[name].empty, _ = _search(detector, album.empty or {})
    finally:
        cv2.setNumThreads(threads_before)
    return measured


def describe(measured: dict[str, Measured], album: Album) -> dict[str, Any]:
    """Judge what was found.

    Returns:
        {"photos": number of them, "no_faces": number or None, "detectors": [{"detector", "recalls": [{"name": one of
        `KINDS`, "found", "faces", "recall", "recall_from" and "recall_to": its 95 % interval, "recall_interval_95":
        half the width of it}], "false_boxes": on the pictures without a face, None if there are none, "median_ms" and
        "median_2_threads_ms": of a photograph, "frame_ms" and "frame_2_threads_ms": of one frame, the same for all,
        "frame_speed_ratio": how many times faster than `BASELINE` on it, on one thread; None without that}]}.
    """
    baseline = measured.get(BASELINE)
    detectors = []
    for name, one in measured.items():
        faces: dict[str, list[bool]] = {kind: [] for kind in KINDS}
        for file, its_faces in album.truth.items():
            for face, kind in its_faces:
                faces[kind].append(is_found(face, one.photos[file]))
        detectors.append(
            {
                "detector": name,
                "recalls": [recall_of(kind, sum(found), len(found)) for kind, found in faces.items()],
                "false_boxes": None if album.empty is None else sum(map(len, one.empty.values())),
                "median_ms": round(one.median_ms[1], 2),
                "median_2_threads_ms": round(one.median_ms[2], 2),
                "frame_ms": round(one.frame_ms[1], 3),
                "frame_2_threads_ms": round(one.frame_ms[2], 3),
                "frame_speed_ratio": round(baseline.frame_ms[1] / one.frame_ms[1], 2) if baseline else None,
            }
        )
    empty = None if album.empty is None else len(album.empty)
    return {"photos": len(album.photos), "no_faces": empty, "detectors": detectors}


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


def _search(detector: FaceDetector, pictures: dict[str, Image]) -> tuple[dict[str, list[Box]], float]:
    """Return what a detector finds in each picture, and the median of the times in milliseconds."""
    found, times_ms = {}, []
    for name, picture in pictures.items():
        seen = as_seen(detector, picture)
        detector.detect(np.zeros_like(seen))  # networks are set up anew for each new size of picture
        started_s = time.perf_counter()
        found[name] = detector.detect(seen)
        times_ms.append(1000 * (time.perf_counter() - started_s))
    return found, float(np.median(times_ms)) if times_ms else 0.0


def _time_frame(detectors: dict[str, FaceDetector], photo: Image) -> dict[str, float]:
    """Return the median time of each detector for one frame, in milliseconds; they take turns."""
    frame = plain_frame(photo)
    times_ms: dict[str, list[float]] = {name: [] for name in detectors}
    for _ in range(1 + FRAME_ROUNDS):
        for name, detector in detectors.items():
            seen = as_seen(detector, frame)
            started_s = time.perf_counter()
            detector.detect(seen)
            times_ms[name].append(1000 * (time.perf_counter() - started_s))
    return {name: float(np.median(times[1:])) for name, times in times_ms.items()}  # the first one sets up networks


def plain_frame(photo: Image) -> Image:
    """Return the middle of a picture as a frame of `FRAME`."""
    import cv2

    width, height = FRAME
    scale = max(width / photo.shape[1], height / photo.shape[0])
    size = max(width, round(photo.shape[1] * scale)), max(height, round(photo.shape[0] * scale))
    whole = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(whole[top : top + height, left : left + width])


def as_seen(detector: FaceDetector, picture: Image) -> Image:
    """Return a picture in colour or gray, as the detector wants it."""
    return picture if detector.takes_frame else to_gray(picture)
