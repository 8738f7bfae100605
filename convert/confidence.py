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

from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013

Probabilities = npt.NDArray[np.float32]

SMALLEST = 1 / 512
"""What an int8 output of 0 stands for at least half of the time: half a step of 1/256."""

TEMPERATURES = (0.1, 10.0)


@dataclass(frozen=True)
class Confidence:
    """What the card says of a model's confidence.

    Attributes:
        temperature: that the logits are divided by.
        thresholds: by class, 0 to 1, of the confidence at that temperature.
    """

    temperature: float
    thresholds: dict[str, float]


def validation_images(run: Path, data: Fer2013) -> Fer2013 | None:
    """Return what the run in a folder validated on; None if it left no `run.json`, or learnt from other data.

    Raises:
        ValueError: `run.json` is damaged.
    """
    path = run / "run.json"
    if not path.exists():
        return None
    try:
        settings: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        if settings.get("data_sha256") != data.sha256:
            return None
        _, rows = data.split_training(float(settings["validation_share"]), int(settings["seed"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it, or convert the .keras file without it") from error
    return data.rows(rows)


def choose_confidence(probabilities: Probabilities, labels: npt.NDArray[np.uint8]) -> Confidence:
    """Choose temperature and thresholds for what a model answers at temperature 1.

    Args:
        probabilities: (N, 7).
        labels: (N,) the true classes.
    """
    temperature = choose_temperature(probabilities, labels)
    scaled = probabilities ** (1 / temperature)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return Confidence(temperature, choose_thresholds(scaled, labels))


def choose_temperature(probabilities: Probabilities, labels: npt.NDArray[np.uint8]) -> float:
    """Return the temperature with the least cross-entropy, to three digits.

    Guo et al. 2017, *On Calibration of Modern Neural Networks*, arXiv:1706.04599, section 4.2.
    """
    logits = np.log(np.maximum(probabilities, SMALLEST))
    own = logits[np.arange(len(labels)), labels]

    def cross_entropy(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return float((np.log(np.exp(scale * logits).sum(axis=1)) - scale * own).mean())

    low, high = (math.log(value) for value in TEMPERATURES)
    found = minimize_scalar(cross_entropy, bounds=(low, high), method="bounded")
    return float(f"{math.exp(found.x):.3g}")


def choose_thresholds(probabilities: Probabilities, labels: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Return for each class the confidence from which on an answer is worth giving, to three digits.

    Worth giving means: a right answer counts 1, a wrong one -1, "unsure" 0, and the threshold is
    where the sum is largest. A class that was never answered has 0.
    """
    predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    thresholds = {}
    for number, name in enumerate(EMOTIONS):
        rows = np.flatnonzero(predictions == number)
        rows = rows[np.argsort(-confidences[rows], kind="stable")]
        gains = np.cumsum(np.where(labels[rows] == number, 1, -1))
        last = int(gains.argmax()) if len(rows) and gains.max() > 0 else -1
        if last == len(rows) - 1:
            threshold = 0.0  # all of them are worth it, and so is what is less sure
        elif last < 0:
            threshold = 1.0
        else:
            threshold = float(confidences[rows[last : last + 2]].mean())
        thresholds[name] = round(threshold, 3)
    return thresholds
