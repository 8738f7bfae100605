"""The tables and plots of `python -m benchmarks latency`, from its results alone."""

from typing import TYPE_CHECKING, Any

from benchmarks.figures import new_figure
from benchmarks.latency_worker import MEMORY_RUNS
from benchmarks.operators import profile_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_MODEL = "cnn_int8"
"""With which the others are compared."""


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "Loading and first inference: medians of some, with the file in the disk's cache. "
        f"“Times faster”: than {PAPER_MODEL} in the same runtime with as many threads.",
        "",
        "| model | runtime | threads | load ms | first ms | median ms | p90 | p99 | runs | times faster "
        "| G multiply-adds/s | of the peak |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_row(point) for point in results["points"]),
        "",
        *_peak_lines(results["peak"]),
        "",
        f"Memory of a fresh process that loads a model and runs it {MEMORY_RUNS} times, MB (10^6 bytes):",
        "",
        "| model | runtime | most | before loading, imports only | the model's |",
        "|---|---|---|---|---|",
    ]
    for entry in results["memory"]:
        sizes = " | ".join(_number(entry[key], 1) for key in ("peak_mb", "import_mb", "increase_mb"))
        lines.append(f"| {entry['model']} | {entry['runtime']} | {sizes} |")
    if results["profile"]:
        lines += ["", profile_table(results["profile"])]
    failures = [f"- {entry['model']} in {entry['runtime']}: {entry['why']}" for entry in results["failed"]]
    failures += [f"- nothing in {entry['peer']}: {entry['why']}" for entry in results["not_measured"]]
    return "\n".join([*lines, *(["", "Not measured:", "", *failures] if failures else [])])


def _row(point: dict[str, Any]) -> str:
    share = point["peak_share"]
    return (
        f"| {point['model']} | {point['runtime']} | {point['threads']} | {point['load_ms']:.1f} "
        f"| {point['first_ms']:.2f} | {point['median_ms']:.3f} | {point['p90_ms']:.3f} | {point['p99_ms']:.3f} "
        f"| {point['runs']} | {_number(point[f'times_faster_than_{PAPER_MODEL}'], 2)} "
        f"| {point['gmacs_per_s']:.1f} | {'–' if share is None else f'{share:.1%}'} |"
    )


def _peak_lines(peak: dict[str, Any]) -> list[str]:
    bound = "which nothing exceeds" if peak["is_upper_bound"] else "whose clock or core is not known for sure"
    return [f"The processor's peak, {bound}:", "", *(f"- {line}" for line in peak["reasoning"])]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def listed(threads: list[int]) -> str:
    """Return numbers of threads, with commas."""
    return ", ".join(map(str, threads))


def plots(results: dict[str, Any]) -> "dict[str, Figure]":
    """Return {"latency": medians by model and threads, a panel for each runtime, lines up to p99}."""
    runtimes = list(dict.fromkeys(point["runtime"] for point in results["points"]))
    threads = sorted({point["threads"] for point in results["points"]})
    one_thread_ms = {point["model"]: point["median_ms"] for point in reversed(results["points"])}
    models = sorted(one_thread_ms, key=lambda model: one_thread_ms[model])
    height = 1.2 + len(models) * (0.25 + 0.2 * len(threads))
    figure = new_figure(2.5 + 4.5 * len(runtimes), height)
    panels = figure.subplots(1, len(runtimes), sharex=True, sharey=True, squeeze=False)[0]
    for panel, runtime in zip(panels, runtimes, strict=True):
        for index, count in enumerate(threads):
            _draw(panel, results["points"], (runtime, count), models, 0.7 * ((index + 0.5) / len(threads) - 0.5))
        panel.set(title=runtime, xscale="log", xlabel="ms a face: median, line to p99")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set_yticks(range(len(models)), models)
        panel.grid(axis="x", alpha=0.3)
        panel.margins(x=0.15)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, title="threads", loc="outside right upper")
    return {"latency": figure}


def _draw(panel: Any, points: list[dict[str, Any]], which: tuple[str, int], models: list[str], shift: float) -> None:
    """Draw the medians of one runtime and number of threads, so far above the models' lines."""
    chosen = [point for point in points if (point["runtime"], point["threads"]) == which]
    medians_ms = [point["median_ms"] for point in chosen]
    rows = [models.index(point["model"]) + shift for point in chosen]
    to_p99_ms = [point["p99_ms"] - point["median_ms"] for point in chosen]
    (dots, *_) = panel.errorbar(medians_ms, rows, xerr=([0] * len(chosen), to_p99_ms), fmt="o", label=str(which[1]))
    for point, row in zip(chosen, rows, strict=True):
        panel.annotate(
            f"{point['median_ms']:.3g}",
            (point["median_ms"], row),
            (-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
            color=dots.get_color(),
        )
