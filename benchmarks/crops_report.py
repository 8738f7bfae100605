"""The tables and the plot of `python -m benchmarks crops`, from its results alone."""

from typing import TYPE_CHECKING, Any

from benchmarks.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#777777", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
"""One a detector; colour-blind people can tell them apart (Okabe and Ito 2008, *Color Universal Design*)."""

FEWEST_DRAWN = 30
"""The accuracy on fewer found images is not drawn: it would say nothing."""

Entry = dict[str, Any]


def table(results: Entry) -> str:
    """Return the results as Markdown: images as they stand, then those that are turned."""
    header = ["cut by", "found", "emotions right", "the same images, tight", "difference, points", "of all images"]
    upright = []
    for detector in results["detectors"]:
        for entry in detector["angles"]:
            if entry["degrees"] == 0:
                cells = [_percent(entry[name]) for name in ("levelled_accuracy", "tight_accuracy")]
                overall = _percent(entry["overall_accuracy"])
                upright.append([detector["detector"], _found(entry), *cells, _points(entry, "difference"), overall])
    blocks = [
        f"{results['model']} on {results['runtime']}; {results['images']:,} test images of FER2013, each put into a "
        f"larger picture. Tight, as they are: {_percent(results['tight_accuracy'])}. In brackets, 95 % intervals of "
        "the same images named both ways; of all images, a face that was not found counts as wrong.",
        _markdown(header, upright),
    ]
    if turned := _turned(results["detectors"]):
        header = ["cut by", "turned", "found", "levelled", "not levelled", "levelling gains, points", "tight", "of all"]
        blocks += [f"Turned to one side or the other, {results['rotated_images']:,} images:", _markdown(header, turned)]
    blocks += ["{peer} was not measured: {why}.".format(**part) for part in results.get("not_measured", [])]
    return "\n\n".join(blocks)


def plots(results: Entry) -> "dict[str, Figure]":
    """Draw the share of images in which the face is found and the emotions named of these, by angle.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = new_figure(11, 5)
    found, accuracy = figure.subplots(1, 2)
    for detector, color in zip(results["detectors"], COLORS, strict=False):
        entries = detector["angles"]
        _line(found, entries, [entry["found"] / entry["images"] for entry in entries], color, "-")
        named = [entry for entry in entries if entry["found"] >= FEWEST_DRAWN]
        _line(accuracy, named, [entry["levelled_accuracy"] for entry in named], color, "-", detector["detector"])
        _line(accuracy, named, [entry["upright_accuracy"] for entry in named], color, "--")
    found.set(title="faces found", ylabel="of the images, %", ylim=(0, 103))
    accuracy.set(
        title=f"emotions right where a face is found (in {FEWEST_DRAWN} images or more)", ylabel="of these images, %"
    )
    accuracy.plot([], [], color="black", label="levelled")
    accuracy.plot([], [], color="black", linestyle="--", label="not levelled")
    for panel in (found, accuracy):
        panel.set_xlabel("image turned by, degrees")
        panel.set_xticks(sorted({entry["degrees"] for one in results["detectors"] for entry in one["angles"]}))
        panel.grid(alpha=0.3)
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return {"crops_by_angle": figure}


def _turned(detectors: list[Entry]) -> list[list[str]]:
    rows = []
    for detector in detectors:
        for entry in detector["angles"]:
            if entry["degrees"]:
                accuracies = [_percent(entry[name]) for name in ("levelled_accuracy", "upright_accuracy")]
                rest = [_percent(entry[name]) for name in ("tight_accuracy", "overall_accuracy")]
                cells = [f"{entry['degrees']}°", _found(entry), *accuracies, _points(entry, "gain"), *rest]
                rows.append([detector["detector"], *cells])
    return rows


def _line(
    panel: "Axes", entries: list[Entry], shares: list[float], color: str, style: str, label: str | None = None
) -> None:
    degrees = [entry["degrees"] for entry in entries]
    marker = "o" if style == "-" else None
    panel.plot(degrees, [100 * share for share in shares], style, color=color, marker=marker, label=label)


def _found(entry: Entry) -> str:
    return f"{entry['found']:,} of {entry['images']:,} ({entry['found'] / entry['images']:.1%})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _points(entry: Entry, name: str) -> str:
    if entry[name] is None:
        return "-"
    value, low, high = (100 * entry[key] for key in (name, f"{name}_from", f"{name}_to"))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])
