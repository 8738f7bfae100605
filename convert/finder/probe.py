"""Run one face finder in one runtime, in a process of its own: `python -m convert.finder.probe --help`.

Needs numpy, OpenCV and the runtime, as a device.
"""

import argparse
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.detectors.finder import FaceNetwork
from mien.face_maps import Found, decode, suppress
from mien.interpreter import TFLiteMaps

MIN_SCORE = 0.02
"""What is less likely a face counts nowhere."""

Array = npt.NDArray[np.float32]

PROGRAM = "convert.finder.probe"
MANY = 20

OVERLAP = 0.45
"""Of two boxes that overlap by more (intersection over union), one goes; as in training."""


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

    result: dict[str, Any] = {"version": np.array(metadata.version(arguments.runtime))}
    with np.load(arguments.pictures) as pictures:
        names = sorted(pictures.files)
        try:
            network = FaceNetwork(content, OVERLAP, runtime=arguments.runtime)
            if arguments.seconds is not None:
                picture = pictures[names[0]]
                result["latency_ms"] = np.array(_time(network.maps(picture.shape), picture, arguments.seconds))
            else:
                found, looks, logits = [], [], []
                for number, name in enumerate(names, 1):
                    one, look, cells = _find(network, pictures[name])
                    found.append(one)
                    looks.append(look)
                    logits.append(cells)
                    if number % MANY == 0 or number == len(names):
                        print(number % MANY or MANY, flush=True)
                result |= {
                    "counts": np.array([len(one.scores) for one in found]),
                    **{field: np.concatenate([getattr(one, field) for one in found]) for field in Found._fields},
                    "looks": np.concatenate(looks),
                    "logits": np.concatenate(logits),
                }
        except (OSError, ValueError, ImportError) as error:
            print(error, file=sys.stderr)
            return 1
    np.savez(arguments.out, **result)
    return 0


def _find(network: FaceNetwork, picture: npt.NDArray[np.uint8]) -> tuple[Found, Array, Array]:
    """Return the faces in a picture, as a device finds them; their scores in the first look; all cells' logits."""
    maps = network.maps(picture.shape).run(picture)
    if not all(np.isfinite(part).all() for one in maps for part in (one.scores, one.geometry)):
        raise ValueError("it answers values that are no numbers (NaN)")
    first = suppress(decode(maps, MIN_SCORE), OVERLAP)
    return network.look_again(picture, first), first.scores, np.concatenate([one.scores.ravel() for one in maps])


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
