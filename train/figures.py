"""The pictures beside a run: what it learnt from, how it went, what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013
from mien.metrics import Metrics

BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#a0aec0"
SAMPLES = 5
SAMPLES_SEED = 2
"""Draws five different faces of each class from FER2013; others draw a copy, or a picture of text."""
VIEWS = 6


def plot_samples(data: Fer2013, path: Path) -> None:
    """Draw five images of each class, a row a class; drawn with a fixed seed."""
    rng = np.random.default_rng(SAMPLES_SEED)
    with new_figure(path, len(EMOTIONS), SAMPLES, figsize=(SAMPLES * 1.1 + 0.8, len(EMOTIONS) * 1.1)) as (_, axes):
        for label, name in enumerate(EMOTIONS):
            rows = np.flatnonzero(data.labels == label)
            chosen = rng.choice(rows, min(SAMPLES, len(rows)), replace=False)
            for column, axis in enumerate(axes[label]):
                _show(axis, data.images[chosen[column]] if column < len(chosen) else None)
            axes[label, 0].set_ylabel(name, rotation=0, ha="right", va="center")


def plot_views(images: npt.NDArray[np.uint8], views: npt.NDArray[np.float32], path: Path) -> None:
    """Draw images (N, 48, 48), each beside its random views (N, VIEWS, size, size)."""
    with new_figure(path, len(images), 1 + VIEWS, figsize=((1 + VIEWS) * 1.1, len(images) * 1.1 + 0.3)) as (_, axes):
        for row, (image, own) in enumerate(zip(images, views, strict=True)):
            for axis, picture in zip(axes[row], [image, *own], strict=True):
                _show(axis, picture)
        axes[0, 0].set_title("image", fontsize=9)
        axes[0, 1].set_title("as the network sees it", fontsize=9, loc="left")


def plot_classes(parts: dict[str, Fer2013], path: Path) -> None:
    """Draw how many images each class has, in each part of the data."""
    height = 0.8 / len(parts)
    with new_figure(path, figsize=(8, 4)) as (_, axis):
        for number, (part, colour) in enumerate(zip(parts, (BLUE, ORANGE, GREY), strict=False)):
            counts = np.bincount(parts[part].labels, minlength=len(EMOTIONS))
            places = np.arange(len(EMOTIONS)) + number * height
            bars = axis.barh(places, counts, height, color=colour, label=f"{part} ({counts.sum():,})")
            axis.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize=7)
        axis.set_yticks(np.arange(len(EMOTIONS)) + 0.4 - height / 2, EMOTIONS)
        axis.invert_yaxis()
        axis.set(xlabel="images", title="Images of each class")
        axis.margins(x=0.1)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)


def plot_history(history: list[dict[str, float]], kept: dict[str, float], title: str, path: Path) -> None:
    """Draw accuracy (left) and loss (right) of training and validation over the epochs; `kept` is one of them."""
    epochs = [row["epoch"] for row in history]
    marker = "." if len(epochs) < 4 else ""  # a line needs two epochs to be seen
    with new_figure(path, 1, 2, figsize=(10, 4)) as (figure, axes):
        figure.suptitle(title)
        labels = ("training, as it learns", "training: what the recipe minimises")
        for axis, name, training_label in zip(axes[0], ("accuracy", "loss"), labels, strict=True):
            axis.plot(epochs, [row[name] for row in history], marker=marker, color=BLUE, label=training_label)
            axis.plot(epochs, [row[f"val_{name}"] for row in history], marker=marker, color=ORANGE, label="validation")
            axis.plot(kept["epoch"], kept[f"val_{name}"], "o", color=ORANGE, label="the epoch that was kept")
            axis.set(xlabel="epoch", ylabel=name)
            axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False)
        axes[0, 0].yaxis.set_major_formatter(percent())


def plot_confusion(metrics: Metrics, title: str, path: Path) -> None:
    """Draw the confusion matrix as counts (left) and as shares of each true class (right)."""
    counts = metrics.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with new_figure(path, 1, 2, figsize=(11, 4.8)) as (figure, axes):
        figure.suptitle(title)
        for axis, values, text in ((axes[0, 0], counts, "{:,.0f}"), (axes[0, 1], shares, "{:.0%}")):
            # Both are coloured by shares: by counts, happy would outshine all.
            axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            axis.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45, ha="right")
            axis.set_yticks(range(len(EMOTIONS)), EMOTIONS)
            axis.set(xlabel="what the network says", ylabel="the label")
            for (row, column), value in np.ndenumerate(values):
                colour = "white" if shares[row, column] > 0.5 else "black"
                said = text.format(value) if counts[row].any() else "–"
                axis.text(column, row, said, ha="center", va="center", fontsize=8, color=colour)
        axes[0, 0].set_title("images", fontsize=10)
        axes[0, 1].set_title("share of the label's images", fontsize=10)


def plot_recall(metrics: Metrics, title: str, path: Path) -> None:
    """Draw recall and precision of each class as bars."""
    places, images = np.arange(len(EMOTIONS)), metrics.confusion.sum(axis=1)
    with new_figure(path, figsize=(8, 4)) as (_, axis):
        for offset, values, colour, label in (
            (-0.2, metrics.recall, BLUE, "recall: how many of its images are found"),
            (0.2, metrics.precision, GREY, "precision: how often it is right when named"),
        ):
            bars = axis.bar(places + offset, list(values.values()), 0.38, color=colour, label=label)
            shown = [f"{value:.0%}" if count else "–" for value, count in zip(values.values(), images, strict=True)]
            axis.bar_label(bars, shown, fontsize=8)
        axis.set_xticks(places, EMOTIONS)
        axis.set(title=title, ylim=(0, 1.25))
        axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axis.yaxis.set_major_formatter(percent())
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, ncols=2, fontsize=8, loc="upper center")


def plot_mistakes(data: Fer2013, probabilities: npt.NDArray[np.float32], path: Path) -> None:
    """Draw the twelve images on which the network is wrong and surest."""
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != data.labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")]
    with new_figure(path, 2, 6, figsize=(9, 4)) as (figure, axes):
        figure.suptitle("The most confident mistakes: label, and what the network says")
        for number, axis in enumerate(axes.flat):
            if number >= len(surest):
                _show(axis, None)
                continue
            row = surest[number]
            _show(axis, data.images[row])
            said = f"{EMOTIONS[predictions[row]]} {confidence[row]:.0%}"
            axis.set_title(f"{EMOTIONS[data.labels[row]]}\n{said}", fontsize=9)


@contextmanager
def new_figure(path: Path, rows: int | None = None, columns: int = 1, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Give a figure and its axes, a grid if `rows` is given; save and close it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    grid = {"squeeze": False} if rows else {}
    figure, axes = pyplot.subplots(rows or 1, columns, layout="constrained", **grid, **options)
    yield figure, axes
    figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})
    pyplot.close(figure)


def _show(axis: Any, image: Any) -> None:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    if image is not None:
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def percent() -> Any:
    """Return what writes an axis' shares as percent."""
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1)  # with as many digits as the ticks need
