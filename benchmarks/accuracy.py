"""How accurate every model is on the test images, in every installed runtime, and what int8 costs."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy_report import plots, table
from benchmarks.models import add_models_argument, chosen_models
from benchmarks.predict import Array
from benchmarks.runtimes import REPOSITORY, Job, Runtime, answer_all, find_runtimes, keras_runtime
from benchmarks.statistics import compare_paired, load_scipy_stats, share_interval
from mien.card import read_card, read_model
from mien.fer2013 import Fer2013, load_fer2013
from mien.files import write_text_whole, write_whole
from mien.metrics import Metrics, measure

__all__ = ["add_arguments", "plots", "run", "table"]

NOT_IN_CARDS = ("accuracy_range_95", "recall_range_95", "precision", "precision_range_95", "confusion")
"""Figures of `run` that would make a model's card long."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    add_models_argument(parser)
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE.npz", help="write labels and all probabilities, to count yourself"
    )
    parser.add_argument("--update-cards", action="store_true", help="write the figures into the models' cards, too")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the models on the test images, and on the parts that `Fer2013.test_parts` names.

    Returns:
        {"images": {part: number}, "models": [{"model", "file", "runtime", "runtime_version", "bytes", "parts": {part:
        figures}}], "pairs": float against int8, "failed": [{"model", "why"}], "not_measured": [{"peer": a runtime,
        "why"}]}. Figures are those of `Metrics.to_dict`, with exact intervals, and with precision; the confusion
        matrix [truth][prediction] is in the part "test".

    Raises:
        FileNotFoundError: the data, a model of `--models`, or the folder of `--predictions` does not exist.
        ValueError: the data is damaged, or a flag's value is not allowed.
        ImportError: SciPy, or every TFLite runtime, is missing.
    """
    load_scipy_stats()
    _check_predictions(arguments.predictions)
    models = list(dict.fromkeys(path.resolve() for path in chosen_models(arguments, keras=True)))
    data = load_fer2013(arguments.data)
    runtimes, missing = find_runtimes()
    jobs, failed = _plan(models, runtimes)
    answers, failures = answer_all(jobs, data.test.images)
    failed += [{"model": str(job), "why": why} for job, why in failures.items()]
    if arguments.predictions:
        _write_predictions(arguments.predictions, data, answers)
    entries = [_entry(job, answer, data) for job, answer in answers.items()]
    if arguments.update_cards:
        _update_cards(list(answers), entries)
    return {
        "images": {name: int(is_in.sum()) for name, is_in in data.test_parts().items()},
        "models": entries,
        "pairs": list(_pairs(answers, data.test.labels)),
        "failed": failed,
        "not_measured": [{"peer": name, "why": why} for name, why in missing.items()],
    }


def update_card(model: Path, entry: dict[str, Any]) -> None:
    """Write the figures of a `.tflite` model, as `run` lists them, into its card."""
    path = model.with_suffix(".json")
    card = read_card(path)
    parts = {
        part: {name: value for name, value in figures.items() if name not in NOT_IN_CARDS}
        for part, figures in entry["parts"].items()
    }
    metrics = {**card.metrics, "runtime": entry["runtime"], **parts, "command": "python -m benchmarks accuracy"}
    write_text_whole(path, replace(card, metrics=metrics).to_json())


def _check_predictions(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix != ".npz":
        raise ValueError(f"--predictions {path} must end in .npz")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; make it first")


def _plan(models: list[Path], runtimes: list[Runtime]) -> tuple[list[Job], list[dict[str, str]]]:
    """Return what is to be run, runtime by runtime, and the models that are damaged, with the reason."""
    shorts = [f"{model.parent.name} (Keras)" if model.suffix == ".keras" else model.stem for model in models]
    names = {
        model: short if shorts.count(short) == 1 else f"{_shown(model)} ({short})"
        for model, short in zip(models, shorts, strict=True)
    }
    failed = []
    for model in [model for model in models if model.suffix != ".keras"]:
        try:
            read_model(model)
        except (OSError, ValueError) as error:
            failed.append({"model": names.pop(model), "why": str(error)})
    jobs = [Job(model, name, keras_runtime()) for model, name in names.items() if model.suffix == ".keras"]
    for runtime in runtimes:
        jobs += [Job(model, name, runtime) for model, name in names.items() if model.suffix != ".keras"]
    return jobs, failed


def _shown(model: Path) -> str:
    """Return a file's path, within the checkout if it lies there."""
    return str(model.relative_to(REPOSITORY) if model.is_relative_to(REPOSITORY) else model)


def _entry(job: Job, probabilities: Array, data: Fer2013) -> dict[str, Any]:
    labels = data.test.labels
    return {
        "model": job.name,
        "file": _shown(job.model),
        "runtime": job.runtime.name,
        "runtime_version": job.runtime.version,
        "bytes": job.model.stat().st_size,
        "parts": {
            part: _figures(measure(labels[is_in], probabilities[is_in]), with_confusion=part == "test")
            for part, is_in in data.test_parts().items()
        },
    }


def _figures(metrics: Metrics, with_confusion: bool) -> dict[str, Any]:
    """Return a part's figures, with exact instead of approximate intervals; `interval_95` is half the width."""
    right, confusion = metrics.confusion.diagonal(), metrics.confusion
    accuracy = _range(int(right.sum()), metrics.images)
    recall, precision = (
        {name: _range(int(hits), int(count)) for name, hits, count in zip(metrics.recall, right, counts, strict=True)}
        for counts in (confusion.sum(axis=1), confusion.sum(axis=0))
    )
    return {
        **metrics.to_dict(),
        "interval_95": round((accuracy[1] - accuracy[0]) / 2, 5),
        "accuracy_range_95": accuracy,
        "recall_interval_95": {name: round((high - low) / 2, 5) for name, (low, high) in recall.items()},
        "recall_range_95": recall,
        "precision": {name: round(value, 5) for name, value in metrics.precision.items()},
        "precision_range_95": precision,
        **({"confusion": confusion.tolist()} if with_confusion else {}),
    }


def _range(hits: int, count: int) -> list[float]:
    return [round(limit, 5) for limit in share_interval(hits, count)]


def _pairs(answers: dict[Job, Array], labels: npt.NDArray[np.uint8]) -> Iterator[dict[str, Any]]:
    """Yield each int8 model beside its network in float: float32 in the same runtime, else Keras."""
    is_right = {job: answer.argmax(axis=1) == labels for job, answer in answers.items()}
    for int8 in [job for job in answers if job.precision == "int8"]:
        floats = [job for job in answers if job.network == int8.network and job.precision in ("float32", "Keras")]
        partners = [job for job in floats if job.precision == "Keras" or job.runtime == int8.runtime]
        if not partners:
            continue
        # Of several: not Keras, and from the same folder.
        best = max(partners, key=lambda job: (job.precision != "Keras", job.model.parent == int8.model.parent))
        paired = compare_paired(is_right[best], is_right[int8])
        yield {
            "float": best.name,
            "float_runtime": best.runtime.name,
            "int8": int8.name,
            "runtime": int8.runtime.name,
            "images": paired.images,
            "only_float_right": paired.only_first,
            "only_int8_right": paired.only_second,
            "mcnemar_p": round(paired.p_value, 5),
            "points_lost": round(100 * paired.difference, 3),
            "points_lost_range_95": [round(100 * limit, 3) for limit in paired.interval],
        }


def _write_predictions(path: Path, data: Fer2013, answers: dict[Job, Array]) -> None:
    """Write labels, usages, who has no twin, and by "MODEL on RUNTIME" (N, 7) probabilities, in the data's order."""
    without_twins = data.test_parts().get("test_without_twins", np.zeros(len(data.test), np.bool_))
    arrays: dict[str, Any] = {
        "labels": data.test.labels,
        "usages": data.test.usages,
        "without_twins": without_twins,
    }
    arrays |= {str(job): answer for job, answer in answers.items()}
    write_whole(path, lambda unfinished: np.savez_compressed(unfinished, **arrays))


def _update_cards(jobs: list[Job], entries: list[dict[str, Any]]) -> None:
    """Write each `.tflite` model's figures in the first of the runtimes that ran it."""
    done: set[Path] = set()
    for job, entry in zip(jobs, entries, strict=True):
        if job.precision != "Keras" and job.model not in done:
            done.add(job.model)
            update_card(job.model, entry)
