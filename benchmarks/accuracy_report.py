"""The tables and plots of `python -m benchmarks accuracy`, from its results alone."""

from typing import TYPE_CHECKING, Any

from benchmarks.figures import new_figure
from mien.card import DEFAULT_MODEL
from mien.emotions import EMOTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = ("test_public", "test_private", "test_without_twins")


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown: accuracies, float against int8, each class, what failed."""
    blocks = []
    if results["models"]:
        blocks.append(accuracy_table(results))
    if results["pairs"]:
        blocks.append(_pair_table(results["pairs"]))
    if results["models"]:
        blocks.append(_class_table(results["models"]))
    if results["failed"]:
        blocks.append("Failed:\n\n" + "\n".join(f"- {part['model']}: {part['why']}" for part in results["failed"]))
    return "\n\n".join(blocks)


def plots(results: dict[str, Any]) -> dict[str, "Figure"]:
    """Draw the recall of each class in float and int8, and the default model's confusion matrix."""
    figures = {}
    if results["pairs"]:
        figures["float_against_int8"] = _draw_recalls(results)
    if results["models"]:
        default = next((entry for entry in results["models"] if entry["model"] == DEFAULT_MODEL), results["models"][0])
        figures["confusion"] = _draw_confusion(default)
    return figures


def accuracy_table(results: dict[str, Any]) -> str:
    """Return each model's accuracy on every part, and its other figures on all test images, as a Markdown table."""
    images = results["images"]
    parts = [part for part in PARTS if part in images]
    titles = [f"{part.removeprefix('test_').replace('_', ' ')} {images[part]:,}" for part in parts]
    rows = []
    for entry in results["models"]:
        figures = entry["parts"]
        test = figures["test"]
        rows.append(
            [
                entry["model"],
                f"{entry['runtime']} {entry['runtime_version']}",
                *(_with_interval(figures[part], "accuracy", "interval_95") for part in ("test", *parts)),
                _with_interval(test, "macro_f1", "macro_f1_interval_95"),
                f"{test['recall']['disgust']:.1%}",
                f"{test['expected_calibration_error']:.3f}",
            ]
        )
    header = ["model", "runtime", f"accuracy on all {images['test']:,}", *titles]
    return _markdown([*header, "macro F1", "disgust recall", "calibration error"], rows)


def _pair_table(pairs: list[dict[str, Any]]) -> str:
    header = ["float", "int8", "runtime", "points lost", "95 % interval", "right in float only", "in int8 only"]
    rows = [
        [
            pair["float"],
            pair["int8"],
            pair["runtime"],
            f"{pair['points_lost']:+.2f}",
            f"{pair['points_lost_range_95'][0]:+.2f} to {pair['points_lost_range_95'][1]:+.2f}",
            f"{pair['only_float_right']:,}",
            f"{pair['only_int8_right']:,}",
            f"{pair['mcnemar_p']:.3f}",
        ]
        for pair in pairs
    ]
    return (
        f"Float against int8, the same {pairs[0]['images']:,} images in both:\n\n"
        f"{_markdown([*header, 'McNemar p'], rows)}"
    )


def _class_table(entries: list[dict[str, Any]]) -> str:
    counts = [sum(row) for row in entries[0]["parts"]["test"]["confusion"]]
    header = [f"{name} {count:,}" for name, count in zip(EMOTIONS, counts, strict=True)]
    rows = []
    for entry in entries:
        test = entry["parts"]["test"]
        cells = [f"{100 * test['recall'][name]:.1f} / {100 * test['precision'][name]:.1f}" for name in EMOTIONS]
        rows.append([entry["model"], entry["runtime"], *cells])
    return f"Recall / precision of each class, in %:\n\n{_markdown(['model', 'runtime', *header], rows)}"


def _with_interval(figures: dict[str, Any], name: str, interval: str) -> str:
    return f"{figures[name]:.1%} ± {100 * figures[interval]:.1f}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def _draw_recalls(results: dict[str, Any]) -> "Figure":
    """Draw float and int8 side by side, a panel for each int8 model, in the first runtime that ran it."""
    pairs: dict[str, dict[str, Any]] = {}
    for pair in results["pairs"]:
        pairs.setdefault(pair["int8"], pair)
    entries = {(entry["model"], entry["runtime"]): entry for entry in results["models"]}
    figure = new_figure(10, 3.6 * len(pairs))
    for axes, pair in zip(figure.subplots(len(pairs), squeeze=False)[:, 0], pairs.values(), strict=True):
        both = [entries[pair["float"], pair["float_runtime"]], entries[pair["int8"], pair["runtime"]]]
        _draw_bars(axes, both)
    return figure


def _draw_bars(axes: "Axes", both: list[dict[str, Any]]) -> None:
    for entry, shift, colour in zip(both, (-0.2, 0.2), ("tab:gray", "tab:blue"), strict=True):
        test = entry["parts"]["test"]
        recalls = [100 * test["recall"][name] for name in EMOTIONS]
        ranges = [test["recall_range_95"][name] for name in EMOTIONS]
        errors = [
            [recall - 100 * low for recall, (low, _) in zip(recalls, ranges, strict=True)],
            [100 * high - recall for recall, (_, high) in zip(recalls, ranges, strict=True)],
        ]
        places = [number + shift for number in range(len(EMOTIONS))]
        label = f"{entry['model']}, {entry['runtime']}"
        axes.bar(places, recalls, 0.4, yerr=errors, color=colour, label=label, error_kw={"linewidth": 1, "capsize": 3})
        for place, recall in zip(places, recalls, strict=True):
            text_colour = "white" if recall > 10 else "black"  # below, it stands over its bar
            axes.text(place, 2, f"{recall:.0f}", ha="center", va="bottom", color=text_colour, fontsize=10)
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS, fontsize=11)
    axes.set_ylim(0, 100)
    axes.set_ylabel("recall, %, and 95 % interval")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def _draw_confusion(entry: dict[str, Any]) -> "Figure":
    """Draw how each class is answered, in % of its images."""
    confusion = entry["parts"]["test"]["confusion"]
    shares = [[100 * count / max(1, sum(row)) for count in row] for row in confusion]
    figure = new_figure(8, 6.5)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, cells in enumerate(shares):
        for column, share in enumerate(cells):
            colour = "white" if share > 50 else "black"
            text = f"{share:.0f} %\n{confusion[row][column]:,}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    names = [f"{name}\n{sum(row):,}" for name, row in zip(EMOTIONS, confusion, strict=True)]
    axes.set_yticks(range(len(EMOTIONS)), names)
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS)
    axes.set_ylabel("label of the image, and how many there are")
    axes.set_xlabel("answer")
    axes.set_title(f"{entry['model']} on {entry['runtime']} {entry['runtime_version']}")
    figure.colorbar(image, label="% of the images with this label")
    return figure
