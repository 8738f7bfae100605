"""One or two minutes on a board, and a block of Markdown for docs/devices.md; `--expected` tells what it should say.

    python -m benchmarks board

It needs what mien itself needs on a device, no more.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
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
from benchmarks.search_work import counted_search, whole_pass_pixels
from benchmarks.stages import measure_stages, spread
from mien.card import DEFAULT_MODEL
from mien.classifier import EmotionClassifier
from mien.config import Config
from mien.detectors import HaarDetector
from mien.detectors.base import shrink
from mien.detectors.haar import FRONTAL, load_cascade
from mien.faces import Image
from mien.native_log import quiet_native_log
from mien.preprocess import FACE_SIZE, to_gray
from mien.streaming import make_recognizer

__all__ = ["add_arguments", "run", "table"]

SECONDS = 90.0
MOST_FRAMES = 150
"""Of the clip: they take 78 MB at 480x360, of the 512 that a small board has."""

LEAST_FRAMES, PROCESS_FRAMES, WARM_UPS = 10, 25, 3
THREADS = (1, 2, 4)

CLASSIFY, SEARCH, FULL_SPEED = 0.15, 0.15, 0.3
"""Shares of the seconds; the clip at its own speed and starting `mien run` take the rest."""

DEFAULT_PASS, OWN_PASS, OWN_SEARCH = "frontalface_default, whole", f"{FRONTAL}, whole", "mien's whole search"


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
    if not arguments.seconds > 0:
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
    config = Config(source=str(clip.path), detector="haar")
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
    default, own, detector = load_cascade("frontalface_default"), load_cascade(FRONTAL), HaarDetector()
    searches: dict[str, Callable[[], Any]] = {
        DEFAULT_PASS: partial(default.detectMultiScale, plane, 1.1, 5),
        OWN_PASS: partial(own.detectMultiScale, plane, 1.1, 5),
        OWN_SEARCH: partial(detector.detect, plane),
    }
    counts, rows = sorted({1, cores}), []
    for threads in counts:
        cv2.setNumThreads(threads)
        for what, search in searches.items():
            times = _spread_of(search, seconds / len(searches) / len(counts))
            rows.append({"what": what, "threads": threads, **times})
    return rows


def _measure_work(clip: Clip, config: Config) -> dict[str, Any]:
    """Return how much of a whole pass mien searches in a frame, and how long that takes on one thread.

    Returns:
        {"passes_a_frame", "pass_ms": of `FRONTAL` over the clip's planes, "expected_ms": their product, "measured_ms":
        mean of all searches of a frame}.
    """
    recognizer = make_recognizer(replace(config, threads=1))
    detector = recognizer.detector
    assert isinstance(detector, HaarDetector)
    with counted_search(detector) as counts:
        spans = measure_stages(recognizer, clip.frames)
    cascade, planes = load_cascade(FRONTAL), [_plane(clip, frame) for frame in range(0, len(clip.frames), 10)]
    times_s = [_seconds(partial(cascade.detectMultiScale, plane, 1.1, 5)) for plane in planes]
    passes = (counts.near_pixels + counts.whole_pixels) / len(clip.frames) / whole_pass_pixels(planes[0].shape)
    pass_ms = spread(times_s)["median_ms"]
    return {
        "passes_a_frame": round(passes, 4),
        "pass_ms": pass_ms,
        "expected_ms": round(passes * pass_ms, 3),
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
    """Return what mien searches of a frame: gray, 320 pixels wide."""
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
