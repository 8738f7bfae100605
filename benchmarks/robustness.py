"""What is left of a model's accuracy on faces as cameras and detectors deliver them."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import load_predictor
from benchmarks.corruptions import CORRUPTIONS, MIDDLE, STRENGTHS, corrupt
from mien.fer2013 import Fer2013


def choose_images(data: Fer2013, count: int | None, seed: int = 0) -> Fer2013:
    """Return `count` of the test images, drawn at random in their order, or all of them for None."""
    test = data.test
    if count is None or count >= len(test):
        return test
    return test.rows(np.sort(np.random.default_rng(seed).permutation(len(test))[:count]))


def measure_robustness(models: list[Path], images: Fer2013) -> list[dict[str, Any]]:
    """Measure models on the same damaged images.

    Returns:
        For each model {"model", "runtime", "images", "clean": accuracy, "corruptions": {name: [accuracy
        at strength 1, ...]}, "worst": {"corruption", "drop"} at the middle strength}.
    """
    predictors = [load_predictor(model) for model in models]
    accuracies: list[dict[str, list[float]]] = [{} for _ in models]
    clean = [_accuracy(predict(images.images), images) for _, _, predict in predictors]
    for corruption in CORRUPTIONS:
        for strength in range(1, STRENGTHS + 1):
            damaged = corrupt(images.images, corruption, strength)
            for (_, _, predict), found in zip(predictors, accuracies, strict=True):
                found.setdefault(corruption.name, []).append(_accuracy(predict(damaged), images))
    results = []
    for (name, runtime, _), accuracy, found in zip(predictors, clean, accuracies, strict=True):
        worst = min(found, key=lambda corruption: found[corruption][MIDDLE - 1])
        drop = round(accuracy - found[worst][MIDDLE - 1], 5)
        results.append({"model": name, "runtime": runtime, "images": len(images), "clean": accuracy,
                        "corruptions": found, "worst": {"corruption": worst, "drop": drop}})  # fmt: skip
    return results


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown tables, one a model."""
    blocks = []
    for result in results:
        lines = [
            f"{result['model']} on {result['runtime']}, {result['images']:,} test images: {result['clean']:.1%} clean; "
            f"worst at strength {MIDDLE}: {result['worst']['corruption']}, {100 * result['worst']['drop']:.1f} points",
            "",
            f"| | {' | '.join(map(str, range(1, STRENGTHS + 1)))} | strengths |",
            "|---" * (STRENGTHS + 2) + "|",
        ]
        for corruption in CORRUPTIONS:
            cells = [f"{accuracy:.1%}" for accuracy in result["corruptions"][corruption.name]]
            levels = ", ".join(f"{level:g}" for level in corruption.levels)
            lines.append(f"| {corruption.name} | {' | '.join(cells)} | {levels} {corruption.unit} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _accuracy(probabilities: np.ndarray, images: Fer2013) -> float:
    return round(float((probabilities.argmax(axis=1) == images.labels).mean()), 5)
