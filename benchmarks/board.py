"""One or two minutes on a board, and a block of Markdown for docs/devices.md; `--expected` tells what it should say.

    python -m benchmarks board

It needs what mien itself needs on a device, no more.
"""

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from benchmarks.board_report import table
from benchmarks.clips import Clip, load_clip
from benchmarks.expectation import expected, gather_inputs
from benchmarks.machine import condition, machine_card
from benchmarks.process import measure_live, measure_memory, measure_process
from benchmarks.search_work import counted_search
from benchmarks.stages import measure_stages, spread
from mien.card import DEFAULT_MODEL
from mien.classifier import EmotionClassifier
from mien.config import Config
from mien.detectors.base import shrink
from mien.detectors.finder import REGION, FinderDetector
from mien.detectors.haar import load_cascade
from mien.faces import Box, Image
from mien.native_log import quiet_native_log
from mien.preprocess import FACE_SIZE, to_gray
from mien.recognition import make_recognizer

__all__ = ["add_arguments", "run", "table"]

SECONDS = 90.0
MOST_FRAMES = 150
"""Of the clip: they take 78 MB at 480x360, of the 512 that a small board has."""

LEAST_FRAMES, PROCESS_FRAMES, WARM_UPS = 10, 25, 3
THREADS = (1, 2, 4)

CLASSIFY, SEARCH, FULL_SPEED = 0.15, 0.15, 0.3
"""Shares of the seconds; the clip at its own speed and starting `mien run` take the rest."""

HAAR_PASS, WHOLE, NEAR = "frontalface_default, whole frame", "finder, whole frame", "finder, around a face"


NEAR_REACH = 0.3
"""How far a known face may have moved, in its sizes: within what mien's own searches take."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--source", default="demo", metavar="CLIP", help="a video file (default: demo)")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="N", help=f"about so long (default: {SECONDS:g})"
    )
    parser.add_argument(
        "--expected", action="store_true", help="measure nothing: print what is expected of each Raspberry Pi"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure this board; with `--expected` compute what others should do.

    Raises:
        OSError, ValueError, ImportError: a flag is out of range; the clip or the runtime is not there, or no good.
    """
    if arguments.expected:
        return expected(gather_inputs(arguments.source))
    if not 0 < arguments.seconds < math.inf:
        raise ValueError(f"--seconds {arguments.seconds:g}: allowed is more than 0")
    print(f"measuring for about {arguments.seconds:g} s, longer on a slow board ...", file=sys.stderr)
    return measure_board(arguments.source, arguments.seconds)


def measure_board(source: str, seconds: float) -> dict[str, Any]:
    """Measure faces, searches and runs on this machine.

    Args:
        source: a video file, or "demo".
        seconds: about so long.

    Returns:
        {"machine", "os", "date", "before" and "after": as in `record.measure`, "clip", "size", "frames", "classify"
        and "search": [{"what", "threads", and a spread}], "work": of the search, as `_measure_work`, "runs":
        [{"threads", "live" and "memory": as `measure_live` and `measure_memory`}], "process": as `measure_process`}.
    """
    import cv2

    before, threads_before = condition(), cv2.getNumThreads()
    clip = load_clip(source, max(LEAST_FRAMES, min(MOST_FRAMES, int(25 * seconds / 15))))
    config = Config(source=str(clip.path), detector="finder")
    cores = len(os.sched_getaffinity(0))
    height, width = clip.frames[0].image.shape[:2]
    try:
        with quiet_native_log():
            runtime = EmotionClassifier().runtime
        results = {
            "machine": machine_card() | {"runtime": runtime},
            "os": _system_name(),
            "date": datetime.now(UTC).date().isoformat(),
            "before": before,
            "clip": clip.path.name,
            "size": f"{width}x{height}",
            "frames": len(clip.frames),
            "classify": _measure_classifier(cores, seconds * CLASSIFY),
            "search": _measure_searches(clip, cores, seconds * SEARCH),
            "work": _measure_work(clip, config),
            "runs": [
                _measure_run(clip, replace(config, threads=threads), seconds * FULL_SPEED / len(THREADS))
                for threads in THREADS
                if threads <= cores
            ],
            "process": measure_process(_beginning(clip, PROCESS_FRAMES), config),
        }
    finally:
        cv2.setNumThreads(threads_before)
    return results | {"after": condition()}


def _measure_classifier(cores: int, seconds: float) -> list[dict[str, Any]]:
    face, rows = np.random.default_rng(0).integers(0, 256, (1, FACE_SIZE, FACE_SIZE), np.uint8), []
    for threads in range(1, cores + 1):
        with quiet_native_log():
            classifier = EmotionClassifier(num_threads=threads)
        times = _spread_of(partial(classifier.predict, face), seconds / cores)
        rows.append({"what": DEFAULT_MODEL, "threads": threads, **times})
    return rows


def _measure_searches(clip: Clip, cores: int, seconds: float) -> list[dict[str, Any]]:
    import cv2

    plane = _plane(clip)
    face = Box(plane.shape[1] // 3, plane.shape[0] // 3, REGION, REGION)
    counts, rows = sorted({1, cores}), []
    for threads in counts:
        cv2.setNumThreads(threads)
        with quiet_native_log():
            detector = FinderDetector(num_threads=threads)
        searches: dict[str, Callable[[], Any]] = {
            WHOLE: partial(detector.detect, plane),
            NEAR: partial(detector.detect_near, plane, face, NEAR_REACH, is_known=True),
        }
        with suppress(ImportError):  # an OpenCV without cascades
            searches[HAAR_PASS] = partial(load_cascade("frontalface_default").detectMultiScale, plane, 1.1, 5)
        for what, search in searches.items():
            times = _spread_of(search, seconds / len(searches) / len(counts))
            rows.append({"what": what, "threads": threads, **times})
    return rows


def _measure_work(clip: Clip, config: Config) -> dict[str, Any]:
    """Return how much the finder's network computes in a frame, and how long finding faces takes on one thread.

    Returns:
        {"madds_a_frame": millions of multiply-adds, "gmadds_a_s": of a whole frame's search, "expected_ms": the
        quotient, "measured_ms": mean of all searches of a frame}.
    """
    recognizer = make_recognizer(replace(config, threads=1))
    detector = recognizer.detector
    assert isinstance(detector, FinderDetector)
    with counted_search(detector) as counts:
        spans = measure_stages(recognizer, clip.frames)
    planes = [_plane(clip, frame) for frame in range(0, len(clip.frames), 10)]
    with counted_search(detector) as whole:
        pass_ms = spread([_seconds(partial(detector.detect, plane)) for plane in planes])["median_ms"]
    madds, speed = (counts.near + counts.whole) / len(clip.frames) / 1e6, whole.whole / len(planes) / pass_ms / 1e6
    return {
        "madds_a_frame": round(madds, 2),
        "gmadds_a_s": round(speed, 3),
        "expected_ms": round(madds / speed, 3),
        "measured_ms": spread(spans["detect"])["mean_ms"],
    }


def _measure_run(clip: Clip, config: Config, seconds: float) -> dict[str, Any]:
    """Play the clip at its own speed, then as fast as it goes."""
    recognizer = make_recognizer(config)
    live = measure_live(clip, recognizer)
    frames = int(1000 * seconds / live["latency"]["mean_ms"])
    memory = measure_memory(_beginning(clip, frames // 3), recognizer, max(20, frames * 2 // 3))
    return {"threads": config.threads, "live": live, "memory": memory}


def _beginning(clip: Clip, frames: int) -> Clip:
    """Return a clip's first frames, two at least."""
    kept = clip.frames[: max(2, frames)]
    return replace(clip, frames=kept, length_s=clip.length_s * len(kept) / len(clip.frames))


def _plane(clip: Clip, frame: int = 0) -> Image:
    """Return what mien searches of a frame: gray, its longer side of 320 pixels."""
    return shrink(to_gray(clip.frames[frame].image), Config.detect_side)[0]


def _spread_of(work: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Time something again and again, after some runs that do not count."""
    for _ in range(WARM_UPS):
        work()
    times_s: list[float] = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s or not times_s:
        times_s.append(_seconds(work))
    return spread(times_s)


def _seconds(work: Callable[[], Any]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
