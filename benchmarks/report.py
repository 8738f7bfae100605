"""All results of a folder as one HTML file that needs no network, and one Markdown file with its plots beside it."""

import argparse
import base64
import html
import io
import os
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.figures import name_points, new_figure
from benchmarks.record import RESULTS, Record, read_failures, read_folder
from mien.files import write_text_whole, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "accuracy": "Accuracy",
    "latency": "Latency of one face",
    "pipeline": "A whole run",
    "peers": "Beside what else one could take",
    "robustness": "Robustness",
    "detection": "Face detection",
    "crops": "Emotions from found faces",
    "board": "Which board",
    "soak": "Minutes on end",
    "fleet": "A fleet on one broker",
    "pareto": "The search for MienNet",
}
"""The sections, in their order."""


class Point(NamedTuple):
    """A model in a runtime: milliseconds, and percent with half of their 95 % interval."""

    model: str
    runtime: str
    latency_ms: float
    accuracy: float
    interval: float


STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; font-size: 0.9rem; }
th, td { border: 1px solid #ccc; padding: 0.25rem 0.6rem; text-align: left; }
td { white-space: nowrap; }
th { background: #f3f3f3; } tr:nth-child(even) td { background: #fafafa; }
img { max-width: 100%; } code { background: #f3f3f3; padding: 0 0.2em; } h2 { margin-top: 3rem; }
"""


HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mien: benchmarks</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folders."""
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: benchmarks/results")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for report.html and report.md (default: the results')")


def main(arguments: argparse.Namespace) -> int:
    """Write the report and say where."""
    for path in make_report(arguments.results, arguments.out or arguments.results):
        print(path)
    return 0


def make_report(results: Path, out: Path) -> list[Path]:
    """Write report.html and report.md, and the plots of the latter in plots/.

    Args:
        results: folder with JSON files of benchmarks.
        out: folder; made if it is missing.

    Returns:
        The two files.

    Raises:
        FileNotFoundError: there are no results.
        ImportError: matplotlib or Markdown is not installed.
    """
    try:
        import markdown
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"the report needs {error.name}: pip install 'mien[bench]'") from error
    os.environ.setdefault("MPLBACKEND", "Agg")
    records, damaged = read_folder(results)
    figures: dict[str, Figure] = {}
    text = _text(records, [*damaged, *_not_measured(records, results)], figures)
    plots = out / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    page = markdown.markdown(text, extensions=["tables", "sane_lists"])
    for name, figure in figures.items():
        write_whole(plots / f"{name}.png", partial(figure.savefig, dpi=110))
        page = page.replace(f'src="plots/{name}.png"', f'src="{_data_uri(figure)}"')
    write_text_whole(out / "report.md", text)
    write_text_whole(out / "report.html", f"{HEAD}<body>{page}</body></html>\n")
    return [out / "report.html", out / "report.md"]


def _text(records: dict[str, Record], missing: list[str], figures: dict[str, "Figure"]) -> str:
    """Return the report as Markdown, and fill in the figures that it names."""
    blocks = ["# mien: benchmarks", _machines(records)]
    if figure := _accuracy_against_latency(records):
        figures["accuracy_against_latency"] = figure
        blocks += ["## Accuracy against latency", _image("accuracy_against_latency")]
    order = list(TITLES)
    for stem, record in sorted(
        records.items(), key=lambda item: order.index(item[1]["benchmark"]) if item[1]["benchmark"] in order else 99
    ):
        blocks += _section(stem, record, figures)
    blocks += ["## What was not measured", "\n".join(f"- {line}" for line in missing) or "Nothing is missing."]
    return "\n\n".join(blocks) + "\n"


def _section(stem: str, record: Record, figures: dict[str, "Figure"]) -> list[str]:
    """Return a benchmark's blocks; results that do not fit this version are named instead of shown."""
    name = record["benchmark"]
    title = str(TITLES.get(name, name)) + ("" if stem == name else f" ({stem})")
    blocks = [f"## {title}", f"`{record['command']}`{_when(record)}"]
    blocks += [f"**Invalid:** {reason}" for reason in record["invalid"]]
    module = import_module(f"benchmarks.{name.replace('-', '_')}")
    try:
        table = module.table(record["results"])
        drawn = module.plots(record["results"]) if hasattr(module, "plots") else {}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        return [*blocks, f"These results are damaged or of another version of mien ({error!r}): measure again."]
    for plot, figure in drawn.items():
        figures[f"{stem}_{plot}"] = figure
    return [*blocks, table, *(_image(f"{stem}_{plot}") for plot in drawn)]


def _when(record: Record) -> str:
    return f", {record['started'].replace('T', ' ')}, {record['seconds']:.0f} s" if record.get("started") else ""


def _image(name: str) -> str:
    return f"![{name.replace('_', ' ')}](plots/{name}.png)"


def _machines(records: dict[str, Record]) -> str:
    """Return the machine's card, and its condition around each benchmark."""
    cards: dict[str, list[str]] = {}
    lines = ["| benchmark | valid | °C before / after | MHz | throttled | load | revision |", "|---" * 7 + "|"]
    for stem, record in records.items():
        machine = dict(record["machine"])
        revision = machine.pop("git", "-")
        cards.setdefault("\n".join(f"| {name} | {value} |" for name, value in machine.items()), []).append(stem)
        before, after = record["before"], record["after"]
        pairs = (_pair(before, after, key) for key in ("temperature_c", "clock_mhz", "throttled", "load_1min"))
        lines.append(f"| {stem} | {'no' if record['invalid'] else 'yes'} | {' | '.join(pairs)} | {revision} |")
    blocks = ["## Machine"]
    for card, stems in cards.items():
        if len(cards) > 1:
            blocks.append(f"Of {', '.join(stems)}:")
        blocks.append(f"| | |\n|---|---|\n{card}" if card else "not known.")
    return "\n\n".join(
        [*blocks, "\n".join(lines), "Temperatures in °C, clocks in MHz; - where the system does not tell."]
    )


def _pair(before: dict[str, Any], after: dict[str, Any], key: str) -> str:
    values = ["-" if state.get(key) is None else html.escape(str(state[key])) for state in (before, after)]
    return values[0] if values[0] == values[1] else " / ".join(values)


def _not_measured(records: dict[str, Record], folder: Path) -> list[str]:
    """Return a line for each part without results, with the reason if there is one."""
    reasons = read_failures(folder)
    measured = {record["benchmark"] for record in records.values()}
    lines = [f"{name}: {why}" for name, why in reasons.items()]
    lines += [f"{name}: not run" for name in TITLES if name not in measured and name not in reasons]
    for record in records.values():
        results = record["results"]
        parts = [*results.get("failed", []), *results.get("not_measured", [])]
        lines += [f"{record['benchmark']} of {part.get('model') or part.get('peer')}: {part['why']}" for part in parts]
    return lines


def _accuracy_against_latency(records: dict[str, Record]) -> "Figure | None":
    """Draw test accuracy against milliseconds on one thread of the models that both benchmarks measured."""
    if not {"accuracy", "latency"} <= records.keys():
        return None
    times = {
        (point["model"], point["runtime"]): point["median_ms"]
        for point in records["latency"]["results"]["points"]
        if point["threads"] == 1
    }
    points: list[Point] = []
    for model in records["accuracy"]["results"]["models"]:
        if (key := (model["model"], model["runtime"])) in times:
            test = model["parts"]["test"]
            points.append(Point(*key, times[key], 100 * test["accuracy"], 100 * test["interval_95"]))
    return _draw_front(points) if points else None


def _draw_front(points: list[Point]) -> "Figure":
    """Draw accuracy against latency, a colour for each runtime, and a line along what nothing else beats in both."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = new_figure(10, 6)
    axes = figure.subplots()
    for runtime in dict.fromkeys(point.runtime for point in points):
        chosen = [point for point in points if point.runtime == runtime]
        latencies_ms, accuracies, intervals = zip(*(each[2:] for each in chosen), strict=True)
        dots = axes.scatter(latencies_ms, accuracies, s=45, label=runtime, zorder=3)
        axes.errorbar(latencies_ms, accuracies, intervals, fmt="none", ecolor=dots.get_facecolor(), alpha=0.3, zorder=1)
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point.latency_ms, -point.accuracy)):
        if not front or point.accuracy > front[-1][1]:
            front.append((point.latency_ms, point.accuracy))
    front.append((max(point.latency_ms for point in points), front[-1][1]))
    axes.step(*zip(*front, strict=True), where="post", color="tab:gray", linestyle=":", label="Pareto front", zorder=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("median of a face, one thread, ms (logarithmic)")
    axes.set_ylabel("accuracy on all test images, %, and 95 % interval")
    axes.margins(0.1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    name_points(figure, axes, [(point.model, (point.latency_ms, point.accuracy)) for point in points])
    return figure


def _data_uri(figure: "Figure") -> str:
    content = io.StringIO()
    figure.savefig(content, format="svg")
    return "data:image/svg+xml;base64," + base64.b64encode(content.getvalue().encode()).decode()
