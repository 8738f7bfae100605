"""Run one `.tflite` file in one runtime, in a process of its own: `python -m convert.probe --help`.

Needs numpy and the runtime alone, so that it works in an environment for `tflite-runtime`, and so that
a crash in native code ends this process and not the conversion.
"""

import argparse
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mien.interpreter import TFLiteModel

WARM_UP_RUNS = 20
MIN_RUNS = 50
CHUNK = 100


def main(argv: list[str] | None = None) -> int:
    """Answer images, or time one; print progress as counts, one a line."""
    parser = argparse.ArgumentParser(prog="python -m convert.probe", description="Run a .tflite file.")
    parser.add_argument("runtime")
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, help=".npy with (N, height, width, channels) uint8")
    parser.add_argument("out", type=Path, help=".npz for what came out")
    parser.add_argument("--count", type=int, help="answer so many, from the first on (default: all)")
    parser.add_argument("--seconds", type=float, help="time the first image for so long, instead of answering all")
    arguments = parser.parse_args(argv)
    try:
        model = TFLiteModel(arguments.model.read_bytes(), runtime=arguments.runtime)
    except (OSError, ValueError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    images = np.load(arguments.images, mmap_mode="r")
    result: dict[str, Any] = {"version": np.array(metadata.version(model.runtime))}
    if arguments.seconds is not None:
        result["latency_ms"] = np.array(_time_one(model, np.array(images[:1]), arguments.seconds))
    else:
        answers = []
        count = len(images) if arguments.count is None else arguments.count
        for start in range(0, count, CHUNK):
            chunk = np.array(images[start : min(start + CHUNK, count)])
            answers.append(model.predict(chunk))
            print(len(chunk), flush=True)
        result["answers"] = np.concatenate(answers)
    np.savez(arguments.out, **result)
    return 0


def _time_one(model: TFLiteModel, image: np.ndarray, seconds: float) -> float:
    """Return the median of one image's milliseconds."""
    end = time.perf_counter() + seconds
    times_ms: list[float] = []
    for _ in range(WARM_UP_RUNS):
        model.predict(image)
        if time.perf_counter() > end:  # a slow one is warm sooner
            break
    end = time.perf_counter() + seconds
    while len(times_ms) < MIN_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        model.predict(image)
        times_ms.append((time.perf_counter() - start) * 1000)
        if time.perf_counter() > end + seconds:
            break
    return float(np.median(times_ms))


if __name__ == "__main__":
    sys.exit(main())
