"""How accurate every model is on the test images, and what int8 costs."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.card import MODELS_DIR, read_card
from mien.classifier import EmotionClassifier
from mien.faces import Image
from mien.fer2013 import Fer2013
from mien.metrics import measure
from mien.native_log import quiet_native_log

PUBLISHED = Path(__file__).resolve().parent.parent / "models"

Predictor = Callable[[Image], npt.NDArray[np.floating[Any]]]


def find_models() -> list[Path]:
    """Return the files of all our models: float Keras, float TFLite, and int8 from the package."""
    return [
        *sorted(PUBLISHED.rglob("*.keras")),
        *sorted(PUBLISHED.rglob("*.tflite")),
        *sorted(MODELS_DIR.glob("*.tflite")),
    ]


def measure_accuracy(model: Path, data: Fer2013) -> dict[str, Any]:
    """Measure a model on the test images, as a whole and in the parts that `Fer2013.test_parts` names.

    Returns:
        {"model", "runtime", "test": ..., "test_without_twins": ...} with the figures of `Metrics`.
    """
    name, runtime, predict = load_predictor(model)
    test = data.test
    probabilities = predict(test.images)
    parts = {
        part: measure(test.labels[is_in], probabilities[is_in]).to_dict() for part, is_in in data.test_parts().items()
    }
    return {"model": name, "runtime": runtime, **parts}


def load_predictor(model: Path) -> tuple[str, str, Predictor]:
    """Return (name, runtime, function from (N, 48, 48) uint8 to (N, 7) probabilities) of a model's file."""
    if model.suffix == ".keras":
        return f"{model.parent.name} (Keras)", "tensorflow", _keras_predictor(model)
    with quiet_native_log():
        classifier = EmotionClassifier(model, num_threads=os.cpu_count() or 1)
    return model.stem, classifier.runtime, classifier.predict


def update_card(model: Path, result: dict[str, Any]) -> None:
    """Write the measured figures into the card of a `.tflite` model."""
    path = model.with_suffix(".json")
    metrics = {name: value for name, value in result.items() if name != "model"}
    card = read_card(path)
    card = replace(card, metrics={**card.metrics, **metrics, "command": "python -m benchmarks accuracy"})
    path.write_text(card.to_json(), encoding="utf-8")


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    parts = [name for name in ("test_public", "test_private", "test_without_twins") if name in results[0]]
    titles = [f"{name.removeprefix('test_').replace('_', ' ')} {results[0][name]['images']:,}" for name in parts]
    header = ["model", "runtime", f"accuracy on all {results[0]['test']['images']:,}", *titles]
    header += ["macro F1", "disgust recall", "calibration error"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for result in results:
        test = result["test"]
        cells = [result["model"], result["runtime"], f"{test['accuracy']:.1%} ± {test['interval_95'] * 100:.1f}"]
        cells += [f"{result[part]['accuracy']:.1%}" for part in parts]
        cells += [f"{test['macro_f1']:.1%}", f"{test['recall']['disgust']:.1%}"]
        cells += [f"{test['expected_calibration_error']:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _keras_predictor(model: Path) -> Predictor:
    with quiet_native_log():
        import keras

    network = keras.saving.load_model(model, compile=False)
    return lambda images: network.predict(images[..., np.newaxis].astype(np.float32), batch_size=256, verbose=0)
