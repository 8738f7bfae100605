"""How good a finished run is: on what it learnt from, on validation, and, once and last, on the test images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from mien.fer2013 import Fer2013
from mien.metrics import Metrics, measure
from train.batches import Sides, as_input
from train.learner import load_network

Probabilities = npt.NDArray[np.float32]

BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """A model's figures.

    Attributes:
        parts: by name: "training", "validation", and those of `Fer2013.test_parts`; without test
            images the latter are absent.
        judged_name: the part that counts: "test", or else "validation".
        judged: its images.
        probabilities: (len(judged), 7) what the model says of them.
    """

    parts: dict[str, Metrics]
    judged_name: str
    judged: Fer2013
    probabilities: Probabilities

    @property
    def metrics(self) -> Metrics:
        """The figures of the part that counts."""
        return self.parts[self.judged_name]

    @property
    def result(self) -> str:
        """The figure that counts, in words."""
        return f"{self.metrics.accuracy:.2%} on {self.metrics.images:,} {self.judged_name} images"

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for a JSON file."""
        return {name: metrics.to_dict() for name, metrics in self.parts.items()}


def evaluate(model: Path, data: Fer2013, sides: Sides) -> Evaluation:
    """Measure a `.keras` model; the images are seen as they are, without augmentation or dropout."""
    network = load_network(model)
    parts = {}
    for name, side in (("training", sides.training), ("validation", sides.validation)):
        probabilities = predict(network, side)
        parts[name] = measure(side.labels, probabilities)
    if not len(test := data.test):
        return Evaluation(parts, "validation", sides.validation, probabilities)
    probabilities = predict(network, test)
    for name, is_in in data.test_parts().items():
        parts[name] = measure(test.labels[is_in], probabilities[is_in])
    return Evaluation(parts, "test", test, probabilities)


def predict(network: keras.Model, data: Fer2013) -> Probabilities:
    """Return (N, 7) probabilities.

    Batch by batch, because `Model.predict` waits for tf.data's autotuning as `fit` does (`EpochBatches`).
    """
    batches = [data.images[start : start + BATCH] for start in range(0, len(data), BATCH)]
    return np.concatenate([network.predict_on_batch(as_input(batch)) for batch in batches]).astype(np.float32)
