"""How long one face takes, by model and number of threads."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from mien.classifier import EmotionClassifier
from mien.native_log import quiet_native_log

WARM_UP_RUNS = 20
MIN_RUNS = 50


def measure_latency(model: Path, num_threads: int, seconds: float) -> dict[str, Any]:
    """Time `EmotionClassifier.predict` on one random face, again and again.

    Args:
        seconds: how long to measure, after the warm-up; at least `MIN_RUNS` runs.

    Returns:
        {"model", "runtime", "threads", "runs", "median_ms", "p95_ms"}.
    """
    with quiet_native_log():
        classifier = EmotionClassifier(model, num_threads=num_threads)
    faces = np.random.default_rng(0).integers(0, 256, (1, 48, 48), np.uint8)
    for _ in range(WARM_UP_RUNS):
        classifier.predict(faces)
    times_ms: list[float] = []
    end = time.perf_counter() + seconds
    while len(times_ms) < MIN_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        classifier.predict(faces)
        times_ms.append((time.perf_counter() - start) * 1000)
    return {
        "model": model.stem,
        "runtime": classifier.runtime,
        "threads": num_threads,
        "runs": len(times_ms),
        "median_ms": round(float(np.median(times_ms)), 3),
        "p95_ms": round(float(np.percentile(times_ms, 95)), 3),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| model | runtime | threads | median ms | p95 ms |", "|---|---|---|---|---|"]
    for result in results:
        lines.append(
            f"| {result['model']} | {result['runtime']} | {result['threads']} "
            f"| {result['median_ms']:.2f} | {result['p95_ms']:.2f} |"
        )
    return "\n".join(lines)
