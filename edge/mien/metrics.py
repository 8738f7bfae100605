"""Figures of merit of a classifier, in numpy: training, conversion and benchmarks count alike.

They are in `mien` because a device runs benchmarks, too, and has no scikit-learn.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS

CALIBRATION_BINS = 15
BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class Metrics:
    """What a classifier reached on some images; shares from 0 to 1.

    Attributes:
        images: how many.
        accuracy: share of right answers.
        interval: half the width of the 95 % interval of the accuracy (normal approximation).
        macro_f1: mean over the classes that there are images of, of the harmonic mean of precision and recall.
        macro_f1_interval: half the width of its 95 % interval, from 1,000 draws of as many images (bootstrap).
        calibration_error: expected calibration error (Naeini et al. 2015; Guo et al. 2017): the mean
            gap between confidence and accuracy over 15 bins of equal width, weighted by their images.
        log_loss: mean of -log of the true class's probability, which is clipped at 1e-7 as Keras does.
        recall: per class, in their order; 0 for a class without images.
        precision: per class; 0 for a class that was never predicted.
        confusion: (K, K) counts, [truth, prediction].
    """

    images: int
    accuracy: float
    interval: float
    macro_f1: float
    macro_f1_interval: float
    calibration_error: float
    log_loss: float
    recall: dict[str, float]
    precision: dict[str, float]
    confusion: npt.NDArray[np.intp]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, rounded to 1/100,000 (the loss to 1/10,000), for a card or a JSON file."""
        return {
            "images": self.images,
            "accuracy": round(self.accuracy, 5),
            "interval_95": round(self.interval, 5),
            "macro_f1": round(self.macro_f1, 5),
            "macro_f1_interval_95": round(self.macro_f1_interval, 5),
            "expected_calibration_error": round(self.calibration_error, 5),
            "log_loss": round(self.log_loss, 4),
            "recall": {name: round(value, 5) for name, value in self.recall.items()},
            "recall_interval_95": {
                name: round(1.96 * math.sqrt(value * (1 - value) / max(1, count)), 5)
                for (name, value), count in zip(self.recall.items(), self.confusion.sum(axis=1), strict=True)
            },
        }


def measure(
    labels: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.floating[Any]], classes: tuple[str, ...] = EMOTIONS
) -> Metrics:
    """Compare (N, K) probabilities of `classes` with (N,) true class ids.

    Raises:
        ValueError: there is no image.
    """
    if not len(labels):
        raise ValueError("there are no images to measure on: give the whole data set")
    count = len(classes)
    predictions = probabilities.argmax(axis=1)
    confusion = np.bincount(labels.astype(np.intp) * count + predictions, minlength=count * count)
    confusion = confusion.reshape(count, count)
    right = confusion.diagonal()
    present, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    accuracy = float(right.sum() / len(labels))
    true_probability = np.take_along_axis(probabilities, labels.astype(np.intp)[:, np.newaxis], axis=1)
    return Metrics(
        images=len(labels),
        accuracy=accuracy,
        interval=1.96 * math.sqrt(accuracy * (1 - accuracy) / len(labels)),
        macro_f1=float(_macro_f1(confusion)),
        macro_f1_interval=_macro_f1_interval(confusion),
        calibration_error=_calibration_error(probabilities.max(axis=1), predictions == labels),
        log_loss=float(-np.log(np.maximum(true_probability, 1e-7, dtype=np.float64)).mean()),
        recall=_by_class(right / np.maximum(present, 1), classes),
        precision=_by_class(right / np.maximum(predicted, 1), classes),
        confusion=confusion,
    )


def _macro_f1(confusion: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the macro F1 of (..., K, K) counts."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    present, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    f1 = 2 * right / np.maximum(present + predicted, 1)
    means: npt.NDArray[np.float64] = f1.sum(axis=-1) / np.maximum((present > 0).sum(axis=-1), 1)
    return means


def _macro_f1_interval(confusion: npt.NDArray[np.intp]) -> float:
    """Return half the width of the middle 95 % of the macro F1 of redrawn images (Efron 1979, the bootstrap)."""
    count = int(confusion.sum())
    draws = np.random.default_rng(0).multinomial(count, confusion.ravel() / count, size=BOOTSTRAP_DRAWS)
    low, high = np.percentile(_macro_f1(draws.reshape(-1, *confusion.shape)), (2.5, 97.5))
    return float(high - low) / 2


def _by_class(values: npt.NDArray[np.float64], classes: tuple[str, ...]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(classes, values, strict=True)}


def _calibration_error(confidence: npt.NDArray[np.floating[Any]], is_right: npt.NDArray[np.bool_]) -> float:
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.intp) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, confidence - is_right, CALIBRATION_BINS)  # sums of both, so their weight is in them
    return float(np.abs(gaps).sum() / len(confidence))
