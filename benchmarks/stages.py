"""Where a frame's time goes: the functions that a recognizer calls are wrapped while it is watched.

Wrapping takes time of its own, so that frames/s are measured without it.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from types import BuiltinFunctionType
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

import mien.recognizer
from benchmarks.clips import Clip
from mien.detectors import HaarDetector
from mien.detectors.finder import FinderDetector
from mien.detectors.yunet import YuNetDetector
from mien.interpreter import TFLiteMaps
from mien.recognizer import EmotionRecognizer
from mien.sources import Frame, open_source
from mien.tracker import Track

STAGES = ("detect", "track", "crop", "classify", "smooth")

NATIVE = "native"
NATIVE_METHODS = ("detectMultiScale", "detect", "invoke")
"""Of OpenCV's cascades and networks and of the interpreter: where they compute."""

Spans = dict[str, list[float]]
"""Seconds of each stage in each frame."""


class StageClock:
    """Adds up the time that is spent in functions, by stage.

    What a function spends in one that is timed, too, counts there alone.

    Attributes:
        spent_s: stage -> seconds; whoever reads it clears it.
    """

    def __init__(self) -> None:
        self.spent_s: defaultdict[str, float] = defaultdict(float)
        self._inner_s = [0.0]  # for each call that is under way, the time of timed calls in it

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, with its time counted."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._inner_s.append(0.0)
            started_s = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took_s = time.perf_counter() - started_s
                self.spent_s[stage] += took_s - self._inner_s.pop()
                self._inner_s[-1] += took_s

        return call


def measure_stages(recognizer: EmotionRecognizer, frames: Iterable[Frame]) -> Spans:
    """Return the seconds of each stage in each frame, of the rest ("other") and of all ("recognize")."""
    clock = StageClock()
    spans: Spans = {stage: [] for stage in (*STAGES, "other", "recognize")}
    with _watch_stages(recognizer, clock):
        for frame in frames:
            whole_s = _recognize(recognizer, frame, clock)
            for stage in STAGES:
                spans[stage].append(clock.spent_s[stage])
            spans["other"].append(whole_s - sum(clock.spent_s.values()))
            spans["recognize"].append(whole_s)
    return spans


def measure_overhead(recognizer: EmotionRecognizer, frames: Iterable[Frame]) -> list[float]:
    """Return the seconds of each frame that neither OpenCV nor the interpreter spends: mien's own."""
    clock, own_s = StageClock(), []
    with _watch_native(recognizer, clock):
        for frame in frames:
            whole_s = _recognize(recognizer, frame, clock)
            own_s.append(whole_s - clock.spent_s[NATIVE])
    return own_s


def measure_capture(clip: Clip) -> list[float]:
    """Return the seconds until the source has each next frame; the first is read when it opens."""
    times_s = []
    with open_source(str(clip.path)) as source:
        frames = iter(source)
        next(frames)
        for _ in clip.frames[1:]:
            started_s = time.perf_counter()
            next(frames)
            times_s.append(time.perf_counter() - started_s)
    return times_s


def spread(times_s: npt.ArrayLike) -> dict[str, float]:
    """Return mean, median and percentiles of times, in milliseconds."""
    times_ms = 1000 * np.asarray(times_s, float)
    median, p95, p99 = np.percentile(times_ms, (50, 95, 99))
    values = {"mean_ms": times_ms.mean(), "median_ms": median, "p95_ms": p95, "p99_ms": p99}
    return {name: round(float(value), 4) for name, value in values.items()}


def _recognize(recognizer: EmotionRecognizer, frame: Frame, clock: StageClock) -> float:
    """Return the seconds of one frame; the clock has those of its parts."""
    clock.spent_s.clear()
    started_s = time.perf_counter()
    recognizer.recognize(frame.image, frame.time_s)
    return time.perf_counter() - started_s


@contextmanager
def _watch_stages(recognizer: EmotionRecognizer, clock: StageClock) -> Iterator[None]:
    detector, search, tracker = recognizer.detector, recognizer._search, recognizer._tracker
    places: list[tuple[Any, str, str]] = [
        (mien.recognizer, "to_gray", "detect"),
        (detector, "detect", "detect"),
        (detector, "detect_step", "detect"),
        (detector, "detect_near", "detect"),
        (search, "find", "track"),  # where to look; the detector's time in it is not counted here
        (tracker, "known", "track"),
        (tracker, "update", "track"),
        (mien.recognizer, "crop_face", "crop"),
        (recognizer.classifier, "predict", "classify"),
        (Track, "smooth", "smooth"),
        (Track, "judge", "smooth"),
    ]
    with ExitStack() as stack:
        for owner, name, stage in places:
            stack.enter_context(patch.object(owner, name, clock.timed(stage, getattr(owner, name))))
        yield


@contextmanager
def _watch_native(recognizer: EmotionRecognizer, clock: StageClock) -> Iterator[None]:
    import cv2

    functions = {name: value for name, value in vars(cv2).items() if isinstance(value, BuiltinFunctionType)}
    detector, model = recognizer.detector, recognizer.classifier._model
    with ExitStack() as stack:
        for name, function in functions.items():
            stack.enter_context(patch.object(cv2, name, clock.timed(NATIVE, function)))
        stack.enter_context(patch.object(model, "_interpreter", _TimedObject(model._interpreter, clock)))
        if isinstance(detector, HaarDetector):
            cascades = {name: _TimedObject(cascade, clock) for name, cascade in detector._cascades.items()}
            stack.enter_context(patch.object(detector, "_cascades", cascades))
        elif isinstance(detector, YuNetDetector):
            make = detector._network
            networks = lru_cache(lambda width, height: _TimedObject(make(width, height), clock))
            stack.enter_context(patch.object(detector, "_network", networks))
        elif isinstance(detector, FinderDetector):
            stack.enter_context(patch.object(TFLiteMaps, "_invoke", clock.timed(NATIVE, TFLiteMaps._invoke)))
        yield


class _TimedObject:
    """Stands for a native object, which takes no attributes, with the time of `NATIVE_METHODS` counted."""

    def __init__(self, inner: Any, clock: StageClock) -> None:
        self._inner = inner
        for name in NATIVE_METHODS:
            if hasattr(inner, name):
                setattr(self, name, clock.timed(NATIVE, getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
