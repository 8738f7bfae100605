"""`report.md` beside a run: its figures against the paper's, its pictures, and how to repeat it."""

import json
import platform
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013
from mien.files import write_text_whole
from mien.metrics import Metrics, measure
from train import figures
from train.augmentation import build_augmentation
from train.batches import Sides, as_input
from train.complexity import measure_complexity
from train.config import TrainingConfig, read_run
from train.evaluation import Evaluation, evaluate, predict
from train.learner import FULL_SIZE, load_network, seed_random_streams
from train.live_views import add_live_faults
from train.training import best_epoch, read_history

PAPER = {
    "cnn": {"training": (0.619, None), "validation": (0.6214, None), "test": (0.626, 1.0056)},
    "resemotenet": {"training": (0.711, None), "validation": (0.594, None), "test": (0.619, 1.0984)},
}
"""The figures of the paper behind this project: (accuracy, loss); it gives no other losses."""

GIVEN = {"start": "start_sha256", "fer_plus_votes": "votes_sha256"}
"""Files that a run can be given, and where `run.json` has their hashes; teachers have lists of both."""

PICTURES = (
    "## How it went",
    "![Accuracy and loss over the epochs](history.png)",
    "## What it confuses",
    "![Confusion matrix](confusion.png)",
    "![Recall and precision](recall.png)",
    "![The most confident mistakes](mistakes.png)",
    "## What it learnt from",
    "![Images of each class](classes.png)",
    "![Samples of each class](samples.png)",
    "![Random views](augmentation.png)",
)
"""The report's paragraphs with the figures that `_draw` makes."""

PART_NAMES = {
    "test": "all test images",
    "test_public": "public test",
    "test_private": "private test",
    "test_without_twins": "test images without a twin in Training",
    "validation": "validation",
}


def write_report(
    model: Path, data: Fer2013, sides: Sides, config: TrainingConfig, command: str, start: Path | None = None
) -> str:
    """Evaluate a finished run and write `report.md`, `evaluation.json` and the figures beside its model.

    Args:
        model: the run's `.keras` file.
        data: the data set.
        sides: its Training, as the run divided it.
        config: the run's settings.
        command: what repeats the run.
        start: the file that the run started from, to be compared with.

    Returns:
        One line with the result.
    """
    out = model.parent
    history = read_history(out / "history.csv")
    evaluation = evaluate(model, data, sides)
    content = {**evaluation.to_dict(), "images": {"training": len(sides.training), "validation": len(sides.validation)}}
    content["cost"] = asdict(measure_complexity(load_network(model)))
    is_fer2013 = evaluation.judged_name == "test"
    shape = "" if config.shape == "base" else f" in shape {config.shape}"
    width = "" if config.width == 1 else f" at width {config.width}"
    name = f"{config.model}{shape}{width}, recipe {config.recipe}"
    _draw(out, data, sides, config, evaluation, history, name)
    best = best_epoch(history, config)
    text = [
        f"# {name}: {evaluation.result}",
        f"    {command}",
        f"Epoch {best['epoch']:.0f} of {config.epochs} was kept, the one with the best validation {config.judged_by}. "
        + ("The test images were looked at once, after that choice." if is_fer2013 else "There are no test images."),
    ]
    if given := _given_files(read_run(out)):
        text.append(given)
    if is_fer2013 and (paper := PAPER.get(config.model)):
        text += ["## Against the paper", _paper_table(evaluation, paper)]
    chosen = f"validation {best['val_accuracy']:.1%} after epoch {best['epoch']:.0f}"
    if start is not None:
        before = measure(sides.validation.labels, predict(load_network(start), sides.validation))
        text += ["## What training changed", _start_table(before, evaluation.parts["validation"])]
        chosen += f", {before.accuracy:.1%} before" + (
            ""
            if round(before.accuracy, 5) < best["val_accuracy"]
            else f": no better than {start}, which is the one to use"
        )
    text += [
        "## Figures of merit",
        _parts_table(evaluation),
        _class_table(evaluation.metrics),
        _notes(evaluation, is_fer2013, config.measured_statistics or config.ema > 0),
    ]
    text += [*PICTURES, "## Settings", _settings(config), _machine()]
    write_text_whole(out / "report.md", "\n\n".join(text) + "\n")
    # The last file: it tells others, such as --teacher, that the run is finished.
    write_text_whole(out / "evaluation.json", json.dumps(content, indent=2) + "\n")
    return f"{out / 'report.md'}: {evaluation.result}; {chosen}"


def _draw(
    out: Path,
    data: Fer2013,
    sides: Sides,
    config: TrainingConfig,
    evaluation: Evaluation,
    history: list[dict[str, float]],
    title: str,
) -> None:
    judged_title = f"{title}: {evaluation.result}"
    parts = {"training": sides.training, "validation": sides.validation, "test": data.test}
    figures.plot_samples(sides.training, out / "samples.png")
    images = sides.training.images[:4]
    figures.plot_views(images, _views(images, config), out / "augmentation.png")
    figures.plot_classes({name: part for name, part in parts.items() if len(part)}, out / "classes.png")
    figures.plot_history(history, best_epoch(history, config), title, out / "history.png")
    figures.plot_confusion(evaluation.metrics, judged_title, out / "confusion.png")
    figures.plot_recall(evaluation.metrics, judged_title, out / "recall.png")
    figures.plot_mistakes(evaluation.judged, evaluation.probabilities, out / "mistakes.png")


def _given_files(facts: dict[str, Any]) -> str:
    """Tell which files a run was given, since a name may later be another file's; nothing where there was none."""
    given = [(name, facts.get(name), facts.get(sha256)) for name, sha256 in GIVEN.items()]
    given += [
        ("teacher", name, sha256)
        for name, sha256 in zip(facts.get("teacher") or (), facts.get("teachers_sha256") or (), strict=True)
    ]
    told = [f"{what.replace('_', ' ')} {name} `{sha256[:12]}`" for what, name, sha256 in given if name and sha256]
    return f"Given were, with the first digits of their sha256: {', '.join(told)}." if told else ""


def _views(images: np.ndarray, config: TrainingConfig) -> np.ndarray:
    layers = build_augmentation(config, FULL_SIZE)
    augment = keras.Sequential([keras.Input((FULL_SIZE, FULL_SIZE, 1)), *layers])
    seed_random_streams(augment, config.seed, epoch=0)
    repeated = np.repeat(images, figures.VIEWS, axis=0)
    rng = np.random.default_rng(config.seed)
    for number in np.flatnonzero(rng.random(len(repeated)) < config.live):
        repeated[number] = add_live_faults(repeated[number], rng)
    views = augment(as_input(repeated), training=True)
    return keras.ops.convert_to_numpy(views).reshape(len(images), figures.VIEWS, FULL_SIZE, FULL_SIZE)


def _paper_table(evaluation: Evaluation, paper: dict[str, tuple[float, float | None]]) -> str:
    lines = ["| | paper: accuracy | loss | ours: accuracy | loss |", "|---|---|---|---|---|"]
    for part, (accuracy, loss) in paper.items():
        ours = evaluation.parts[part]
        lines.append(
            f"| {part} | {accuracy:.1%} | {'' if loss is None else f'{loss:.4f}'} "
            f"| {ours.accuracy:.1%} | {ours.log_loss:.4f} |"
        )
    return "\n".join(lines)


def _start_table(before: Metrics, after: Metrics) -> str:
    lines = [f"| {before.images:,} validation images | accuracy | macro F1 |", "|---|---|---|"]
    for name, metrics in (("before", before), ("after", after)):
        lines.append(f"| {name} | {metrics.accuracy:.1%} ± {metrics.interval * 100:.1f} | {metrics.macro_f1:.1%} |")
    return "\n".join(lines)


def _parts_table(evaluation: Evaluation) -> str:
    lines = ["| | images | accuracy | macro F1 | calibration error |", "|---|---|---|---|---|"]
    for name, title in PART_NAMES.items():
        if metrics := evaluation.parts.get(name):
            lines.append(
                f"| {title} | {metrics.images:,} | {metrics.accuracy:.1%} ± {metrics.interval * 100:.1f} "
                f"| {metrics.macro_f1:.1%} | {metrics.calibration_error:.3f} |"
            )
    return "\n".join(lines)


def _class_table(metrics: Metrics) -> str:
    lines = [f"| | {' | '.join(EMOTIONS)} |", "|---" * (len(EMOTIONS) + 1) + "|"]
    images = metrics.confusion.sum(axis=1)
    for name, values in (("recall", metrics.recall), ("precision", metrics.precision)):
        cells = [f"{value:.1%}" if count else "–" for value, count in zip(values.values(), images, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, f"| images | {' | '.join(f'{count:,}' for count in images)} |"])


def _notes(evaluation: Evaluation, is_fer2013: bool, measured_statistics: bool) -> str:
    training = evaluation.parts["training"]
    notes = (
        f"± is half the 95 % interval. The {training.images:,} images to learn from, seen as they are, without "
        f"augmentation and dropout, give {training.accuracy:.1%} (loss {training.log_loss:.4f}); the curve below shows "
        "them as they were learnt from. The calibration error is the mean gap between confidence and accuracy, in 15 "
        "bins, at temperature 1: a file converted from this model has its own (`conversion.md`). Losses in these "
        "tables are plain cross-entropy; the curve of training shows what the recipe minimises, "
        "with all that it does to the labels."
    )
    if measured_statistics:
        notes += " Batch normalization's statistics were measured on training images before each validation."
    if is_fer2013:
        notes += " Copies of an image never lie on both sides of the split between training and validation."
    return notes


def _settings(config: TrainingConfig) -> str:
    lines = ["| setting | value | |", "|---|---|---|"]
    meanings = {item.name: item.metadata["help"] for item in fields(TrainingConfig)}
    return "\n".join([*lines, *(f"| {name} | {value} | {meanings[name]} |" for name, value in asdict(config).items())])


def _machine() -> str:
    backend = keras.backend.backend()
    return (
        f"Keras {keras.__version__} on {backend} {import_module(backend).__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}."
    )
