"""The report of a face finder's run: how it went, and what it finds on photographs that it never saw."""

import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from mien.detection_metrics import MIN_WIDTH, average_precision, recall_by_width
from mien.faces import Image
from mien.files import write_text_whole, write_whole
from mien.photographs import Photograph
from train.complexity import measure_complexity
from train.figures import BLUE, ORANGE, new_figure, percent
from train.finder.judge import LEAST_WIDTH, Judge
from train.finder.training import BALANCE, FinderConfig, read_history
from train.finder.views import Source, View, draw_view
from train.learner import load_network
from train.models.finder import build

SCORE = 0.5
VIEWS, ROWS, SIDE = 24, 3, 160


def write_report(
    model: Path, training: list[Photograph], test: list[Photograph], config: FinderConfig, command: str
) -> Path:
    """Judge a run by its test photographs, write `report.md` and its figures beside the model; return its path."""
    out, network = model.parent, load_network(model)
    judge = Judge(test)
    found = judge.find(network)
    precision = average_precision(found, judge.truths)
    history = read_history(out / "history.csv")
    best = max(reversed(history), key=lambda row: row["val_average_precision"])
    plot_history(history, out / "history.png")
    write_whole(out / "views.png", lambda path: cv2.imwrite(str(path), draw_views(training, config.seed)))
    cost = measure_complexity(build(120, 160))
    bands = [
        f"| {band} | {faces} | {right / max(faces, 1):.1%} |"
        for band, (right, faces) in recall_by_width(found, judge.truths, SCORE).items()
    ]
    empty = [one for one, truth in zip(found, judge.truths, strict=True) if not len(truth.boxes)]
    false_boxes = sum(int((one.scores >= SCORE).sum()) for one in empty)
    lines = [
        f"# The face finder: average precision {precision:.3f} on {len(test)} photographs that it never saw",
        "",
        f"    {command}",
        "",
        f"Epoch {best['epoch']:.0f} of {config.epochs} was kept, the one with the best average precision on validation "
        f"photographs ({best['val_average_precision']:.3f}, of faces wider than {LEAST_WIDTH:.0%} of their picture). "
        f"{_balance(out)} The test photographs were looked at after that choice. A box is right if it overlaps a face "
        f"by half (intersection over union); faces narrower than {MIN_WIDTH:.0%} of their picture do not count. "
        "Photographs are shrunk to 320 pixels.",
        "",
        f"The network: {cost.parameters:,} parameters, {cost.multiply_adds / 1e6:.1f} M multiply-adds at 160x120.",
        "",
        "| width of the face, of the picture's | faces | found, at a score of 0.5 |",
        "|---|---|---|",
        *bands,
        "",
        f"On {len(empty)} of these photographs there is no face; {false_boxes} boxes have a score of 0.5 or more there."
        " `python -m convert` chooses the threshold.",
        "",
        "![Loss and average precision over the epochs](history.png)",
        "",
        "![Random views that it learnt from](views.png)",
        "",
        "| setting | value | |",
        "|---|---|---|",
        *(f"| {item.name} | {getattr(config, item.name)} | {item.metadata['help']} |" for item in fields(config)),
    ]
    write_text_whole(out / "report.md", "\n".join(lines) + "\n")
    return out / "report.md"


def _balance(out: Path) -> str:
    shifts = {stride: shift for stride, shift in json.loads((out / BALANCE).read_text()).items() if shift}
    if not shifts:
        return "Its scores stayed as they were."
    parts = " and ".join(f"of stride {stride} by {shift:+g}" for stride, shift in shifts.items())
    return f"Then its scores were shifted by what served that precision best: {parts} (logits)."


def plot_history(history: list[dict[str, float]], path: Path) -> None:
    """Draw loss and average precision over the epochs."""
    epochs = [row["epoch"] for row in history]
    names: dict[str, tuple[str, str]] = {
        "loss": ("loss in training", BLUE),
        "val_average_precision": ("average precision in validation", ORANGE),
    }
    with new_figure(path, 1, 2, figsize=(10, 4)) as (_, axes):
        for axis, (name, (label, colour)) in zip(axes[0], names.items(), strict=True):
            axis.plot(epochs, [row[name] for row in history], marker="." if len(epochs) < 4 else "", color=colour)
            axis.set(xlabel="epoch", ylabel=label)
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0, 1].yaxis.set_major_formatter(percent())


def draw_views(training: list[Photograph], seed: int) -> Image:
    """Return a grid of random views with what shall be found in them, (H, W, 3) BGR."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(training))[: 4 * VIEWS]
    sources = [Source(training[number], training[number].read()) for number in chosen]
    views = [_draw(draw_view(sources, number % len(sources), SIDE, rng)) for number in range(VIEWS)]
    return np.vstack([np.hstack(views[row::ROWS]) for row in range(ROWS)])


def _draw(view: View) -> Image:
    picture = cv2.cvtColor(view.image, cv2.COLOR_GRAY2BGR)
    for boxes, colour in ((view.ignored, (80, 80, 220)), (view.boxes, (80, 220, 80))):
        for left, top, width, height in boxes.round().astype(int):
            cv2.rectangle(picture, (left, top), (left + width, top + height), colour, 1)
    for x, y in view.landmarks[np.isfinite(view.landmarks).all(axis=(1, 2))].reshape(-1, 2).round().astype(int):
        cv2.circle(picture, (x, y), 1, (220, 180, 60), -1)
    return picture
