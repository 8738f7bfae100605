"""Figures of merit of a classifier, in numpy: a device that runs benchmarks has no scikit-learn."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS


@dataclass(frozen=True)
class Metrics:
    """What a classifier reached on some images; shares from 0 to 1.

    Attributes:
        images: how many.
        accuracy: share of right answers.
        interval: half the width of the 95 % interval of the accuracy (normal approximation).
        macro_f1: mean over the classes of the harmonic mean of precision and recall.
        recall: per class, in the order of `EMOTIONS`.
    """

    images: int
    accuracy: float
    interval: float
    macro_f1: float
    recall: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, rounded to 1/10,000, for a card or a JSON file."""
        return {
            "images": self.images,
            "accuracy": round(self.accuracy, 4),
            "interval_95": round(self.interval, 4),
            "macro_f1": round(self.macro_f1, 4),
            "recall": {name: round(value, 4) for name, value in self.recall.items()},
        }


def measure(labels: npt.NDArray[np.uint8], predictions: npt.NDArray[np.intp]) -> Metrics:
    """Compare (N,) predicted class ids with (N,) true ones.

    Macro F1 is the mean over all seven classes; one that is neither present nor predicted counts as 0.

    Raises:
        ValueError: there is no image.
    """
    if not len(labels):
        raise ValueError("there are no test images to measure on: give the whole data set")
    count = len(EMOTIONS)
    confusion = np.bincount(labels.astype(np.intp) * count + predictions, minlength=count * count)
    confusion = confusion.reshape(count, count)  # [truth, prediction]
    right = confusion.diagonal()
    present, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    accuracy = float(right.sum() / len(labels))
    recall = right / np.maximum(present, 1)
    f1 = 2 * right / np.maximum(present + predicted, 1)
    return Metrics(
        images=len(labels),
        accuracy=accuracy,
        interval=1.96 * math.sqrt(accuracy * (1 - accuracy) / len(labels)),
        macro_f1=float(f1.mean()),
        recall={name: float(value) for name, value in zip(EMOTIONS, recall, strict=True)},
    )
