"""What `python -m benchmarks latency` has measured in a fresh process: it asks on stdin, in JSON, and reads stdout."""

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import resident_mb
from benchmarks.operators import arithmetic, read_operators, time_prefixes
from mien.classifier import EmotionClassifier
from mien.faces import Image
from mien.interpreter import load_runtime
from mien.native_log import quiet_native_log

ROUNDS = 10
LOADS = 5
WARM_UP_RUNS, WARM_UP_S = 3, 0.05
"""Before each turn: threads of the model before go on spinning for some milliseconds, and hold its cores."""

MEMORY_RUNS = 20


def answer(request: dict[str, Any]) -> Any:
    """Measure what a request of `run` asks, in this process."""
    task = request.pop("task")
    if task == "memory":
        return measure_memory(**request)
    if task == "points":
        return measure_points(**request)
    files = [Path(file) for file in request.pop("files")]
    return time_prefixes(files, **request)


@dataclass
class _Point:
    """A model with a number of threads, and the milliseconds of its runs, round by round."""

    model: Path
    threads: int
    classifier: EmotionClassifier
    load_ms: float
    first_ms: float
    rounds_ms: list[list[float]] = field(default_factory=list)


def measure_points(
    models: list[str], threads: list[int], runtime: str, seconds: float, runs: int
) -> list[dict[str, Any]]:
    """Time `EmotionClassifier.predict` on one random face, in this process.

    Args:
        seconds, runs: for each model and number of threads, whichever is over first.

    Returns:
        For each {"model", "runtime", "threads", "load_ms" and "first_ms": medians of some loads with the file in the
        disk's cache, "runs", "median_ms", "p90_ms", "p99_ms", "round_medians_ms", "multiply_adds", "arithmetic",
        "gmacs_per_s": G multiply-adds per second}.
    """
    points = [_load(Path(model), count, runtime) for model in models for count in threads]
    for _ in range(ROUNDS):
        for point in points:
            point.rounds_ms.append(_turn(point.classifier, seconds / ROUNDS, runs // ROUNDS))
    return [_figures(point, runtime) for point in points]


def _load(model: Path, threads: int, runtime: str) -> _Point:
    face, loads_ms, firsts_ms = _random_face(), [], []
    for _ in range(LOADS):
        start_s = time.perf_counter()
        with quiet_native_log():
            classifier = EmotionClassifier(model, threads, runtime)
        loads_ms.append((time.perf_counter() - start_s) * 1000)
        firsts_ms.append(_time_ms(classifier, face))
    return _Point(model, threads, classifier, float(np.median(loads_ms)), float(np.median(firsts_ms)))


def _random_face() -> Image:
    return np.random.default_rng(0).integers(0, 256, (1, 48, 48), np.uint8)


def _time_ms(classifier: EmotionClassifier, face: Image) -> float:
    start_s = time.perf_counter()
    classifier.predict(face)
    return (time.perf_counter() - start_s) * 1000


def _turn(classifier: EmotionClassifier, seconds: float, runs: int) -> list[float]:
    face, warm_up_runs = _random_face(), 0
    end_s = time.perf_counter() + min(WARM_UP_S, seconds)
    while time.perf_counter() < end_s or warm_up_runs < WARM_UP_RUNS:
        classifier.predict(face)
        warm_up_runs += 1
    times_ms: list[float] = []
    end_s = time.perf_counter() + seconds
    while len(times_ms) < runs and (time.perf_counter() < end_s or not times_ms):
        times_ms.append(_time_ms(classifier, face))
    return times_ms


def _figures(point: _Point, runtime: str) -> dict[str, Any]:
    operators = read_operators(point.model.read_bytes(), runtime)
    multiply_adds = sum(operator.multiply_adds for operator in operators)
    times_ms = np.concatenate(point.rounds_ms)
    median_ms, p90_ms, p99_ms = np.percentile(times_ms, [50, 90, 99])
    return {
        "model": point.model.stem,
        "runtime": runtime,
        "threads": point.threads,
        "load_ms": round(point.load_ms, 2),
        "first_ms": round(point.first_ms, 3),
        "runs": len(times_ms),
        "median_ms": round(float(median_ms), 4),
        "p90_ms": round(float(p90_ms), 4),
        "p99_ms": round(float(p99_ms), 4),
        "round_medians_ms": [round(float(np.median(times)), 4) for times in point.rounds_ms],
        "multiply_adds": multiply_adds,
        "arithmetic": arithmetic(operators),
        "gmacs_per_s": round(multiply_adds / float(median_ms) / 1e6, 2),
    }


def measure_memory(model: str, runtime: str) -> dict[str, Any]:
    """Load and run a model in this process, which shall be a fresh one.

    Returns:
        {"model", "runtime", "peak_mb": the most memory that the process had (10^6 bytes), "import_mb": likewise
        before the model, with numpy and the runtime imported, "increase_mb"}.
    """
    load_runtime(runtime)
    import_mb = resident_mb(what="VmHWM")
    with quiet_native_log():
        classifier = EmotionClassifier(model, 1, runtime)
    face = _random_face()
    for _ in range(MEMORY_RUNS):
        classifier.predict(face)
    peak_mb = resident_mb(what="VmHWM")
    sizes = {"peak_mb": peak_mb, "import_mb": import_mb, "increase_mb": peak_mb - import_mb}
    return {"model": Path(model).stem, "runtime": runtime} | {name: round(size, 2) for name, size in sizes.items()}


if __name__ == "__main__":
    try:
        print(json.dumps(answer(json.load(sys.stdin))))
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
