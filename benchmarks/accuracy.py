"""How accurate every model is on the test images, and what int8 costs."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.metrics import measure
from mien.card import MODELS_DIR, read_card
from mien.classifier import EmotionClassifier
from mien.faces import Image
from mien.fer2013 import Fer2013
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


def find_twins(data: Fer2013) -> npt.NDArray[np.bool_]:
    """Return which of the test images, (N,) bool, stand in Training too, byte for byte."""
    return np.isin(data.test.image_keys(), data.training.image_keys())


def measure_accuracy(model: Path, test: Fer2013, is_twin: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Measure a model on all test images and on those without a twin in Training.

    Returns:
        {"model", "runtime", "test": ..., "test_without_twins": ...} with the figures of `Metrics`.
    """
    if model.suffix == ".keras":
        name, runtime, predict = f"{model.parent.name} (Keras)", "tensorflow", _keras_predictor(model)
    else:
        with quiet_native_log():
            classifier = EmotionClassifier(model, num_threads=os.cpu_count() or 1)
        name, runtime, predict = model.stem, classifier.runtime, classifier.predict
    predictions = predict(test.images).argmax(axis=1)
    return {
        "model": name,
        "runtime": runtime,
        "test": measure(test.labels, predictions).to_dict(),
        "test_without_twins": measure(test.labels[~is_twin], predictions[~is_twin]).to_dict(),
    }


def update_card(model: Path, result: dict[str, Any]) -> None:
    """Write the measured figures into the card of a `.tflite` model."""
    path = model.with_suffix(".json")
    metrics = {name: result[name] for name in ("runtime", "test", "test_without_twins")}
    card = replace(read_card(path), metrics={**metrics, "command": "python -m benchmarks accuracy"})
    path.write_text(card.to_json(), encoding="utf-8")


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    test_images = results[0]["test"]["images"]
    single_images = results[0]["test_without_twins"]["images"]
    lines = [
        f"| model | runtime | accuracy on all {test_images:,} | macro F1 | on {single_images:,} without twins |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        test, single = result["test"], result["test_without_twins"]
        lines.append(
            f"| {result['model']} | {result['runtime']} "
            f"| {test['accuracy']:.1%} ± {test['interval_95'] * 100:.1f} | {test['macro_f1']:.1%} "
            f"| {single['accuracy']:.1%} |"
        )
    return "\n".join(lines)


def _keras_predictor(model: Path) -> Predictor:
    with quiet_native_log():
        import keras

    network = keras.saving.load_model(model, compile=False)
    return lambda images: network.predict(images[..., np.newaxis].astype(np.float32), batch_size=256, verbose=0)
