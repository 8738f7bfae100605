"""Run one face finder in one runtime, in a process of its own: `python -m convert.finder.probe --help`.

Needs numpy and the runtime alone, as `convert.probe`.
"""

import argparse
import sys
import time
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.face_maps import Found, Map, decode
from mien.interpreter import TFLiteMaps

MIN_SCORE = 0.02
"""What is less likely a face counts nowhere."""

PROGRAM = "convert.finder.probe"
MANY = 20
SIZES = 64
"""So many sizes of pictures stay ready."""


def main(argv: list[str] | None = None) -> int:
    """Find faces in pictures, or time the first one; print progress as counts, one a line."""
    parser = argparse.ArgumentParser(prog="python -m convert.finder.probe", description="Run a face finder.")
    parser.add_argument("runtime")
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, help=".npz with pictures, (height, width) uint8 each")
    parser.add_argument("out", type=Path, help=".npz for what came out")
    parser.add_argument("--seconds", type=float, help="time the first picture for so long, instead of answering all")
    arguments = parser.parse_args(argv)
    content = arguments.model.read_bytes()

    @lru_cache(maxsize=SIZES)
    def network(shape: tuple[int, int]) -> TFLiteMaps:
        return TFLiteMaps(content, shape, runtime=arguments.runtime)

    result: dict[str, Any] = {"version": np.array(metadata.version(arguments.runtime))}
    with np.load(arguments.pictures) as pictures:
        names = sorted(pictures.files)
        try:
            if arguments.seconds is not None:
                picture = pictures[names[0]]
                result["latency_ms"] = np.array(_time(network(picture.shape), picture, arguments.seconds))
            else:
                answers = []
                for number, name in enumerate(names, 1):
                    picture = pictures[name]
                    answers.append(network(picture.shape).run(picture))
                    if number % MANY == 0 or number == len(names):
                        print(number % MANY or MANY, flush=True)
                result |= _pack(answers)
        except (OSError, ValueError, ImportError) as error:
            print(error, file=sys.stderr)
            return 1
    np.savez(arguments.out, **result)
    return 0


def _pack(answers: list[list[Map]]) -> dict[str, npt.NDArray[Any]]:
    """Return what was found in all pictures, one after another: boxes of all, and logits of all cells."""
    if not all(np.isfinite(part).all() for maps in answers for one in maps for part in (one.scores, one.geometry)):
        raise ValueError("it answers values that are no numbers (NaN)")
    found = [decode(maps, MIN_SCORE) for maps in answers]
    return {
        "counts": np.array([len(one.scores) for one in found]),
        **{field: np.concatenate([getattr(one, field) for one in found]) for field in Found._fields},
        "logits": np.concatenate([one.scores.ravel() for maps in answers for one in maps]),
    }


def _time(network: TFLiteMaps, picture: npt.NDArray[np.uint8], seconds: float) -> float:
    """Return the median of one picture's milliseconds."""
    times_ms: list[float] = []
    end = time.perf_counter() + seconds
    while not times_ms or time.perf_counter() < end:
        start = time.perf_counter()
        network.run(picture)
        times_ms.append((time.perf_counter() - start) * 1000)
    return float(np.median(times_ms[len(times_ms) // 10 :]))  # the first ones warm it up


if __name__ == "__main__":
    sys.exit(main())
