"""How far a model's confidence can be trusted: a temperature, and the thresholds of "unsure".

Both are chosen on the validation images of the model's own run, from the answers of the very file
that they belong to: quantization moves confidences, too.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from convert.pictures import Pictures
from mien.classifier import at_temperature
from mien.emotions import EMOTIONS
from mien.metrics import measure

Probabilities = npt.NDArray[np.float32]

TEMPERATURES = (0.1, 10.0)
"""The least and the highest."""

MIN_ANSWERS = 100
"""With fewer answers of a class, the best threshold is more chance than knowledge."""


@dataclass(frozen=True)
class Confidence:
    """What the card says of a model's confidence.

    Attributes:
        temperature: that the logits are divided by.
        thresholds: by class, 0 to 1, of the confidence at that temperature.
        error_before: expected calibration error at temperature 1, on the images that this was chosen on.
        error: the same at the temperature.
    """

    temperature: float
    thresholds: dict[str, float]
    error_before: float
    error: float


def validation_rows(run: Path, pictures: Pictures) -> npt.NDArray[np.intp] | None:
    """Return what the run in a folder validated on; None if it left no `run.json`, or learnt from other data.

    Raises:
        ValueError: `run.json` is damaged.
    """
    path = run / "run.json"
    if not path.exists() or pictures.faces is None:
        return None
    try:
        settings: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        if settings.get("data_sha256") != pictures.faces.sha256:
            return None
        _, rows = pictures.faces.split_training(float(settings["validation_share"]), int(settings["seed"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it, or convert the .keras file without it") from error
    return rows


def choose_confidence(
    probabilities: Probabilities, labels: npt.NDArray[np.uint8], dtype: str, classes: tuple[str, ...] = EMOTIONS
) -> Confidence:
    """Choose temperature and thresholds for what a model answers at temperature 1.

    Args:
        probabilities: (N, K).
        labels: (N,) the true classes.
        dtype: of the model's output, "int8" or "float32".
        classes: (K) names.
    """
    temperature = choose_temperature(probabilities, labels, dtype)
    scaled = at_temperature(probabilities.copy(), temperature, dtype)
    errors = [measure(labels, answers, classes).calibration_error for answers in (probabilities, scaled)]
    return Confidence(temperature, choose_thresholds(scaled, labels, classes), errors[0], errors[1])


def choose_temperature(probabilities: Probabilities, labels: npt.NDArray[np.uint8], dtype: str) -> float:
    """Return the temperature with the least cross-entropy, to three digits; the arguments are the same.

    Guo et al. 2017, *On Calibration of Modern Neural Networks*, arXiv:1706.04599, section 4.2.
    """
    rows = np.arange(len(labels))

    def cross_entropy(log_temperature: float) -> float:
        scaled = at_temperature(probabilities.copy(), math.exp(log_temperature), dtype)
        return float(-np.log(np.maximum(scaled[rows, labels], 1e-12)).mean())

    low, high = (math.log(value) for value in TEMPERATURES)
    found = minimize_scalar(cross_entropy, bounds=(low, high), method="bounded")
    return float(f"{math.exp(found.x):.3g}")


def choose_thresholds(
    probabilities: Probabilities, labels: npt.NDArray[np.uint8], classes: tuple[str, ...] = EMOTIONS
) -> dict[str, float]:
    """Return for each class the confidence from which on an answer is worth giving, to three digits.

    Worth giving means: a right answer counts 1, a wrong one -1, "unsure" 0, and the threshold is
    where the sum is largest. A class with fewer answers than `MIN_ANSWERS` has 0.5, which is where it
    would be if confidences were honest.
    """
    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    thresholds = {}
    for number, name in enumerate(classes):
        rows = np.flatnonzero(predictions == number)
        threshold = 0.5
        if len(rows) >= MIN_ANSWERS:
            threshold = _best_threshold(confidences[rows], labels[rows] == number)
        thresholds[name] = round(threshold, 3)
    return thresholds


def _best_threshold(confidences: Probabilities, is_right: npt.NDArray[np.bool_]) -> float:
    """Return the threshold above which the right answers outnumber the wrong ones by most."""
    order = np.argsort(-confidences, kind="stable")
    confidences = confidences[order]
    gains = np.cumsum(np.where(is_right[order], 1, -1))
    ends = np.flatnonzero(np.append(confidences[1:] != confidences[:-1], True))  # equal ones stay together
    best = ends[gains[ends].argmax()]
    if gains[best] <= 0:
        return 1.0
    # Less than the least: nothing is unsure.
    return 0.0 if best == len(confidences) - 1 else float(confidences[best : best + 2].mean())
