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

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """A model's figures.

    Attributes:
        parts: by name: "training", "validation", and those of `Fer2013.test_parts`; without test
            images the latter are absent.
        judged: the images of the last part but those: test, or else validation.
        probabilities: (len(judged), 7) what the model says of them.
    """

    parts: dict[str, Metrics]
    judged: Fer2013
    probabilities: Probabilities

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for a JSON file."""
        return {name: metrics.to_dict() for name, metrics in self.parts.items()}


def evaluate(model: Path, data: Fer2013, sides: Sides) -> Evaluation:
    """Measure a `.keras` model; the images are seen as they are, without augmentation or dropout."""
    network = keras.saving.load_model(model, compile=False)
    parts = {}
    judged, probabilities = sides.training, predict(network, sides.training)
    parts["training"] = measure(judged.labels, probabilities)
    judged, probabilities = sides.validation, predict(network, sides.validation)
    parts["validation"] = measure(judged.labels, probabilities)
    if len(data.test):
        judged, probabilities = data.test, predict(network, data.test)
        for name, is_in in data.test_parts().items():
            parts[name] = measure(judged.labels[is_in], probabilities[is_in])
    return Evaluation(parts, judged, probabilities)


def predict(network: keras.Model, data: Fer2013) -> Probabilities:
    """Return (N, 7) probabilities."""
    return np.asarray(network.predict(as_input(data.images), batch_size=256, verbose=0), np.float32)
