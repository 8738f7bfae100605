"""What a model answers to faces: `python -m benchmarks.predict --help` runs one in a process of its own.

It needs numpy and one runtime alone, so that it works in an environment for `tflite-runtime`, too.
"""

import argparse
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.classifier import EmotionClassifier
from mien.emotions import EMOTIONS
from mien.faces import Image
from mien.interpreter import RUNTIMES, load_runtime
from mien.native_log import prepare_tensorflow, quiet_native_log

KERAS_RUNTIME = "tensorflow"
CHUNK = 256

Array = npt.NDArray[np.float32]
Predictor = Callable[[Image], npt.NDArray[np.floating[Any]]]


def load_predictor(
    model: Path, runtime: str | None = None, num_threads: int | None = None
) -> tuple[str, str, Predictor]:
    """Load a model into this process.

    Args:
        model: a `.keras` file, or a `.tflite` file with its card.
        runtime: of a `.tflite` file, a key of `RUNTIMES`; None takes the first that is installed.
        num_threads: of a `.tflite` file; None takes one a core.

    Returns:
        (name, runtime, function from (N, 48, 48) uint8 to (N, 7) probabilities).
    """
    if model.suffix == ".keras":
        return f"{model.parent.name} (Keras)", KERAS_RUNTIME, _keras_predictor(model)
    with quiet_native_log():
        classifier = EmotionClassifier(model, num_threads or os.cpu_count() or 1, runtime)
    return model.stem, classifier.runtime, classifier.predict


def version_of(package: str) -> str:
    """Return a package's version."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # as tensorflow, which has packages of other names, too
        return "of unknown version"


def main(argv: list[str] | None = None) -> int:
    """Answer images with one model; print progress as counts, one a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description="Run a model on faces.")
    parser.add_argument("--runtime", required=True, choices=list(RUNTIMES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("model", type=Path, nargs="?", help=".keras, or .tflite with its card; none: tell the version")
    parser.add_argument("images", type=Path, nargs="?", help=".npy with (N, 48, 48) uint8")
    parser.add_argument("out", type=Path, nargs="?", help=".npy for (N, 7) probabilities")
    arguments = parser.parse_args(argv)
    prepare_tensorflow()
    try:
        if arguments.out is None:
            load_runtime(arguments.runtime)
            print(f"version {version_of(arguments.runtime)}")
            return 0
        _, _, predict = load_predictor(arguments.model, arguments.runtime, arguments.threads)
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    images = np.load(arguments.images, mmap_mode="r")
    answers = []
    for start in range(0, len(images), CHUNK):
        chunk = np.array(images[start : start + CHUNK])
        answers.append(predict(chunk))
        print(len(chunk), flush=True)
    probabilities = np.concatenate(answers)
    if probabilities.shape[1:] != (len(EMOTIONS),):
        given, allowed = probabilities.shape[1:], ", ".join(EMOTIONS)
        print(f"error: it answers {given} numbers a face, allowed is one for each of {allowed}", file=sys.stderr)
        return 1
    np.save(arguments.out, probabilities)
    return 0


def _keras_predictor(model: Path) -> Predictor:
    with quiet_native_log():
        import keras

        network = keras.saving.load_model(model, compile=False)
    return lambda images: network.predict(images[..., np.newaxis].astype(np.float32), batch_size=CHUNK, verbose=0)


if __name__ == "__main__":
    sys.exit(main())
