"""What is left of a model's accuracy on faces as cameras and detectors deliver them.

    python -m benchmarks robustness --data fer2013.csv --images 1000

All models see the same damaged images. `corruptions.py` says what is done to them.
"""

import argparse
import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.corruptions import CORRUPTIONS, MIDDLE, STRENGTHS, corrupt
from benchmarks.figures import new_figure
from benchmarks.models import add_models_argument, chosen_models
from benchmarks.predict import Predictor, load_predictor
from mien.faces import Image
from mien.fer2013 import Fer2013, load_fer2013
from mien.progress import ProgressBar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPARED = ("_float32", "_int8")
"""How the names of the files end that are measured where `--models` names none."""

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""One a network; colour-blind people can tell them apart (Okabe and Ito 2008, *Color Universal Design*)."""

COLUMNS = 3

Right = npt.NDArray[np.bool_]
"""(N,), whether the model named the emotion of each image."""


@dataclass(frozen=True)
class _Measured:
    """A model with what it got right: on clean images, and by corruption at each strength."""

    name: str
    runtime: str
    predict: Predictor
    clean: Right
    damaged: dict[str, list[Right]] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add data, images and models."""
    parser.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    parser.add_argument("--images", type=int, metavar="N", help="test images, drawn at random (default: all)")
    add_models_argument(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the models that `--models` names, or float32 and int8 of each of ours; see `measure_robustness`.

    Raises:
        FileNotFoundError: data or a model do not exist.
        ValueError: `--images` is less than 1, a model is unknown, or the data are damaged.
    """
    if arguments.images is not None and arguments.images < 1:
        raise ValueError(f"--images {arguments.images} must be 1 or more")
    models = chosen_models(arguments, keras=bool(arguments.models))
    if not arguments.models:
        models = sorted((model for model in models if model.stem.endswith(COMPARED)), key=lambda model: model.stem)
    return measure_robustness(models, choose_images(load_fer2013(arguments.data), arguments.images))


def choose_images(data: Fer2013, count: int | None, seed: int = 0) -> Fer2013:
    """Return `count` of the test images, drawn at random in their order, or all of them for None.

    Raises:
        ValueError: there are no test images.
    """
    test = data.test
    if not len(test):
        raise ValueError("the data have no test images: give the whole of FER2013")
    if count is None or count >= len(test):
        return test
    return test.rows(np.sort(np.random.default_rng(seed).permutation(len(test))[:count]))


def measure_robustness(models: list[Path], images: Fer2013) -> dict[str, Any]:
    """Measure models on the same damaged images.

    Returns:
        {"images", "strengths": {corruption: {"levels": [of strength 1, ...], "unit"}}, "models": [{"model",
        "runtime", "clean": accuracy, "clean_interval_95" (half of it), "damaged_accuracy": mean of all corruptions
        and strengths, "damaged_accuracy_interval_95", "corruptions": {name: [accuracy at strength 1, ...]},
        "worst": {"corruption", "drop"} at the middle strength}], "pairs": [{"float", "int8", "difference": what int8
        loses of `damaged_accuracy`, "difference_interval_95"}], "failed": [{"model", "why"}]}.
    """
    measured, failed = [], []
    for model in models:
        try:
            measured.append(_load(model, images))
        except (OSError, ValueError, ImportError) as error:
            failed.append({"model": _name_of(model), "why": " ".join(str(error).split())})
    steps = [(corruption, strength) for corruption in CORRUPTIONS for strength in range(1, STRENGTHS + 1)]
    with ProgressBar("robustness", len(steps)) as bar:
        for done, (corruption, strength) in enumerate(steps if measured else (), 1):
            if strength == 1 and not sys.stderr.isatty():  # where the bar is not seen
                print(f"{corruption.name} ...", file=sys.stderr, flush=True)
            damaged = corrupt(images.images, corruption, strength)
            for each in measured:
                each.damaged.setdefault(corruption.name, []).append(_is_right(each.predict, damaged, images))
            bar.update(done)
    return {
        "images": len(images),
        "strengths": {one.name: {"levels": list(one.levels), "unit": one.unit} for one in CORRUPTIONS},
        "models": [_figures(each) for each in measured],
        "pairs": _pairs(measured),
        "failed": failed,
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown: the models side by side at the middle strength, then all strengths of each."""
    blocks = [f"{results['images']:,} test images."]
    if models := results["models"]:
        blocks += [f"Strength {MIDDLE} of {STRENGTHS}:", _overview(models)]
    for pair in results["pairs"]:
        lost, interval = 100 * pair["difference"], 100 * pair["difference_interval_95"]
        blocks.append(
            f"{pair['int8']} loses {lost:.2f} ± {interval:.2f} points of {pair['float']}'s on damaged images."
        )
    for model in models:
        worst = f"{model['worst']['corruption']}, {100 * model['worst']['drop']:.1f} points"
        head = f"**{model['model']}** on {model['runtime']}: {model['clean']:.1%} clean; worst at strength {MIDDLE}"
        blocks += [f"{head}: {worst}", _strengths(model, results["strengths"])]
    blocks += [f"{failed['model']} was not measured: {failed['why']}" for failed in results["failed"]]
    return "\n\n".join(blocks)


def plots(results: dict[str, Any]) -> "dict[str, Figure]":
    """Draw a panel for each corruption: accuracy by strength, a line for each model.

    Raises:
        ImportError: matplotlib is not installed.
    """
    if not results["models"]:
        return {}
    rows = math.ceil((len(results["strengths"]) + 1) / COLUMNS)  # the last panel is the legend's
    figure = new_figure(11, 2.6 * rows)
    panels = figure.subplots(rows, COLUMNS, sharey=True).flatten()
    for panel, (name, strength) in zip(panels, results["strengths"].items(), strict=False):
        _draw(panel, name, strength, results["models"])
    for panel in panels[len(results["strengths"]) :]:
        panel.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[-1].legend(handles, labels, loc="center", fontsize=11, frameon=False, title="thin: clean images")
    figure.suptitle(f"Accuracy on damaged faces, {results['images']:,} test images", fontsize=13)
    figure.supylabel("accuracy, %", fontsize=11)
    return {"strengths": figure}


def _load(model: Path, images: Fer2013) -> _Measured:
    name, runtime, predict = load_predictor(model)
    return _Measured(name, runtime, predict, _is_right(predict, images.images, images))


def _is_right(predict: Predictor, pictures: Image, images: Fer2013) -> Right:
    return np.asarray(predict(pictures).argmax(axis=1) == images.labels)


def _name_of(model: Path) -> str:
    return f"{model.parent.name} (Keras)" if model.suffix == ".keras" else model.stem


def _figures(model: _Measured) -> dict[str, Any]:
    corruptions = {name: [round(float(right.mean()), 5) for right in rights] for name, rights in model.damaged.items()}
    clean = round(float(model.clean.mean()), 5)
    worst = min(corruptions, key=lambda name: corruptions[name][MIDDLE - 1])
    shares = _shares(model)
    return {
        "model": model.name,
        "runtime": model.runtime,
        "clean": clean,
        "clean_interval_95": _interval(model.clean),
        "damaged_accuracy": round(float(shares.mean()), 5),
        "damaged_accuracy_interval_95": _interval(shares),
        "corruptions": corruptions,
        "worst": {"corruption": worst, "drop": round(clean - corruptions[worst][MIDDLE - 1], 5)},
    }


def _pairs(measured: list[_Measured]) -> list[dict[str, Any]]:
    """Compare int8 files with the float32 ones of their networks, image by image."""
    floats = {_network(each.name): each for each in measured if each.name.endswith("_float32")}
    pairs = []
    for int8 in measured:
        if int8.name.endswith("_int8") and (whole := floats.get(_network(int8.name))):
            lost = _shares(whole) - _shares(int8)
            figures = {"difference": round(float(lost.mean()), 5), "difference_interval_95": _interval(lost)}
            pairs.append({"float": whole.name, "int8": int8.name, **figures})
    return pairs


def _shares(model: _Measured) -> npt.NDArray[Any]:
    """Return (N,): in which share of its damaged forms each image is named rightly."""
    return np.mean([right for rights in model.damaged.values() for right in rights], axis=0)


def _interval(shares: npt.NDArray[Any]) -> float:
    """Return half the width of the 95 % interval of a mean over images (normal approximation)."""
    return round(1.96 * float(shares.std()) / math.sqrt(len(shares)), 5)


def _overview(models: list[dict[str, Any]]) -> str:
    rows = [
        ["", *(model["model"] for model in models)],
        ["---"] * (len(models) + 1),
        ["clean", *(_share(model, "clean") for model in models)],
    ]
    for name in models[0]["corruptions"]:
        rows.append([name, *(f"{model['corruptions'][name][MIDDLE - 1]:.1%}" for model in models)])
    rows.append(["all, mean of all strengths", *(_share(model, "damaged_accuracy") for model in models)])
    rows.append(["worst, points below clean", *(f"{100 * model['worst']['drop']:.1f}" for model in models)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _share(model: dict[str, Any], figure: str) -> str:
    interval = model.get(f"{figure}_interval_95")
    return f"{model[figure]:.1%}" + ("" if interval is None else f" ± {100 * interval:.1f}")


def _strengths(model: dict[str, Any], strengths: dict[str, Any]) -> str:
    lines = [f"| | {' | '.join(map(str, range(1, STRENGTHS + 1)))} | strengths |", "|---" * (STRENGTHS + 2) + "|"]
    for name, accuracies in model["corruptions"].items():
        levels = ", ".join(f"{level:g}" for level in strengths[name]["levels"])
        cells = " | ".join(f"{accuracy:.1%}" for accuracy in accuracies)
        lines.append(f"| {name} | {cells} | {levels} {strengths[name]['unit']} |")
    return "\n".join(lines)


def _draw(panel: "Axes", name: str, strength: dict[str, Any], models: list[dict[str, Any]]) -> None:
    """Draw a corruption; an int8 file as thin dashes on the broad line of its float one, which it mostly covers."""
    networks = list(dict.fromkeys(_network(model["model"]) for model in models))
    positions = range(1, len(strength["levels"]) + 1)
    for model in models:
        color = COLORS[networks.index(_network(model["model"])) % len(COLORS)]
        is_int8 = model["model"].endswith("_int8")
        style: dict[str, Any] = {"linewidth": 1.6, "linestyle": "--"} if is_int8 else {"linewidth": 3.5, "alpha": 0.4}
        panel.axhline(100 * model["clean"], color=color, linewidth=0.6)
        accuracies = [100 * accuracy for accuracy in model["corruptions"][name]]
        panel.plot(positions, accuracies, color=color, label=model["model"], **style)
    panel.set_title(name, fontsize=11)
    panel.set_xticks(positions, [f"{level:g}" for level in strength["levels"]])
    panel.set_xlabel(strength["unit"], fontsize=9)
    panel.tick_params(labelsize=9, labelleft=True)
    panel.grid(alpha=0.3)


def _network(name: str) -> str:
    """Return whose file a model is: "cnn" of "cnn_int8", "cnn_float32" and "cnn (Keras)"."""
    return re.sub(r"(_int8|_float32|_float16|_dynamic| \(Keras\))$", "", name)
