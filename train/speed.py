"""How fast training is, against the way of the tutorials: `python -m train.speed cnn`.

The naive way is Keras' old `ImageDataGenerator`, which turns and shifts one image after the other
in SciPy, and `fit` in float32. Images are random, the batches full. The clock runs from the end of
the warm-up to the end of the last batch: what `fit` does after that comes once an epoch.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mien.native_log import prepare_tensorflow, quiet_native_log
from train.config import RECIPES, TrainingConfig
from train.models import MODELS

WARM_UP_STEPS = 3

Way = Callable[[int], list[float]]
"""Trains on that many batches; returns when each one ended, in seconds."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="python -m train.speed", description="Measure images/s in training.")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=12, help="batches a measurement (default: 12)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, the median counts (default: 3)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table; return the exit code."""
    arguments = build_parser().parse_args(argv)
    prepare_tensorflow()
    try:
        if arguments.steps < 1 or arguments.rounds < 1:
            raise ValueError(f"steps {arguments.steps} and rounds {arguments.rounds} must be 1 or more")
        with quiet_native_log():
            import keras

            keras.ops.zeros(1)
        paper = replace(RECIPES["paper"], model=arguments.model, width=arguments.width)
        strong = replace(RECIPES["strong"], model=paper.model, width=paper.width, batch_size=paper.batch_size)
        ways = {
            "ImageDataGenerator and fit": _naive_way(paper),
            "paper": _our_way(paper),
            "paper, mixed precision": _our_way(replace(paper, mixed_precision=True)),
            "strong, mixed precision": _our_way(replace(strong, mixed_precision=True)),
        }
        images = measure(ways, arguments.steps, arguments.rounds)
    except KeyboardInterrupt:
        return 130
    except (ValueError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"| {arguments.model}, width {arguments.width} | images/s | |\n|---|---|---|")
    naive = images["ImageDataGenerator and fit"]
    for name, value in images.items():
        print(f"| {name} | {value:.0f} | {value / naive:.1f} x |")
    return 0


def measure(ways: dict[str, Way], steps: int, rounds: int) -> dict[str, float]:
    """Return the median of images/s for each way; the ways take turns, so that a slow minute hits all."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            ends_s = way(WARM_UP_STEPS + steps)
            times[name].append(ends_s[-1] - ends_s[WARM_UP_STEPS - 1])
    return {name: steps * RECIPES["paper"].batch_size / float(np.median(seconds)) for name, seconds in times.items()}


def _our_way(config: TrainingConfig) -> Way:
    from train.batches import EpochBatches, Sides, one_hot
    from train.learner import FULL_SIZE, build_learner

    learner, _ = build_learner(config, FULL_SIZE, 1000, np.full(7, 1 / 7))

    def run(steps: int) -> list[float]:
        images, labels = _images(steps * config.batch_size)
        data = _as_fer2013(images, labels)
        batches = EpochBatches(Sides(data, data, one_hot(labels)), config, epoch=0)
        return _time_batches(learner, batches)

    return run


def _naive_way(config: TrainingConfig) -> Way:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from train.learner import thin_before_pointwise
    from train.models import build

    network = build(config.model, width=config.width)
    thin_before_pointwise(network)  # else it may end the process
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    generator = ImageDataGenerator(
        rotation_range=config.rotation_degrees,
        zoom_range=config.zoom,
        width_shift_range=config.shift,
        height_shift_range=config.shift,
        horizontal_flip=True,
        fill_mode="nearest",
    )

    def run(steps: int) -> list[float]:
        images, labels = _images(steps * config.batch_size)
        flow = generator.flow(images[..., np.newaxis].astype(np.float32), np.eye(7)[labels], config.batch_size)
        return _time_batches(network, flow)

    return run


def _time_batches(model: Any, batches: Any) -> list[float]:
    """Train on batches, a Keras PyDataset; return when each one ended, in seconds."""
    import keras

    ends_s: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends_s.append(time.perf_counter()))
    model.fit(batches, shuffle=False, callbacks=[clock], verbose=0)
    return ends_s


def _images(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 48, 48)).astype(np.uint8), rng.integers(0, 7, count).astype(np.uint8)


def _as_fer2013(images: Any, labels: Any) -> Any:
    from mien.fer2013 import Fer2013

    return Fer2013(images, labels, np.zeros(len(labels), np.uint8))


if __name__ == "__main__":
    sys.exit(main())
