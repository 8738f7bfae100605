"""Accuracy against latency: which network gives most for its time.

python -m benchmarks pareto --runs runs/*     # measures, keeps the results and draws them
python -m benchmarks pareto                   # draws what was kept
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.figures import name_points, new_figure
from benchmarks.machine import describe, machine_card
from benchmarks.record import measure, read_record, write_record
from mien.card import FINDER, MODELS_DIR, read_card
from mien.classifier import EmotionClassifier
from mien.native_log import quiet_native_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results" / "pareto.json"
PLOT = Path(__file__).resolve().parent.parent / "docs" / "images" / "pareto.png"

ROUNDS = 20
RUNS_A_ROUND = 25


SEARCH_EPOCHS = 12
"""Runs of so many epochs or fewer are for comparison with each other, and drawn hollow."""

COMPARABLE = ("data_sha256", "seed")
"""Settings in `run.json` that say how the data were divided: with one seed, less validation is a part of more."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add runs, results and plot."""
    parser.add_argument("--runs", type=Path, nargs="+", metavar="RUN", help="converted runs to measure anew")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="JSON (default: ours)")
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="FILE", help="PNG (default: ours)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure `--runs` and keep the results in `--results`, or read them there; draw them.

    Raises:
        FileNotFoundError: a run is not finished or not converted, or there are no results.
        ValueError: something is damaged, or the runs cannot be compared.
        ImportError: matplotlib is not installed.
    """
    new_figure(1, 1)  # if it cannot be drawn, say so before measuring
    if arguments.runs:
        command = shlex.join(["python", "-m", "benchmarks", "pareto", "--runs", *map(str, arguments.runs)])
        record = measure("pareto", command, lambda _: measure_runs(arguments.runs), arguments)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        write_record(arguments.results, record)
        results: dict[str, Any] = record["results"]
    else:
        results = read_results(arguments.results)
    arguments.plot.parent.mkdir(parents=True, exist_ok=True)
    (figure,) = plots(results).values()
    figure.savefig(arguments.plot, dpi=110, metadata={"Software": None})
    print(arguments.plot, file=sys.stderr)
    return results


def measure_runs(runs: list[Path]) -> dict[str, Any]:
    """Read what runs reached in training and time their int8 files on one thread, in turns.

    Args:
        runs: folders of `python -m train` with the int8 file that `python -m convert` put there, or
            that is in the package.

    Returns:
        {"machine", "entries": [{"name", "model", "epochs", "parameters", "multiply_adds",
        "int8_bytes", "latency_ms", "validation_accuracy", "interval_95" (half of it)}, ...]}, the fastest first.

    Raises:
        FileNotFoundError: a folder lacks its evaluation or its int8 file.
        ValueError: two runs have one name, or divided the data in different ways.
    """
    _check_comparable(runs)
    entries, classifiers = [], []
    for run in runs:
        entry, file = _read(run)
        entries.append({**entry, "int8_bytes": file.stat().st_size})
        with quiet_native_log():
            classifiers.append(EmotionClassifier(file, num_threads=1))
    faces = np.random.default_rng(0).integers(0, 256, (1, 48, 48), np.uint8)
    times_s: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for classifier, times in zip(classifiers, times_s, strict=True):
            classifier.predict(faces)  # its weights are no longer in the cache
            for _ in range(RUNS_A_ROUND):
                start = time.perf_counter()
                classifier.predict(faces)
                times.append(time.perf_counter() - start)
    for entry, times in zip(entries, times_s, strict=True):
        entry["latency_ms"] = round(1000 * float(np.median(times)), 4)
    return {"machine": machine_card(), "entries": sorted(entries, key=lambda entry: entry["latency_ms"])}


def read_results(path: Path) -> dict[str, Any]:
    """Read the results that `run` kept.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another benchmark.
    """
    if not path.exists():
        raise FileNotFoundError(f"no results at {path}: measure with --runs RUN [RUN ...]")
    record = read_record(path)
    if record["benchmark"] != "pareto":
        raise ValueError(
            f"{path} is of {record['benchmark']!r}, allowed is 'pareto': measure with --runs RUN [RUN ...]"
        )
    results: dict[str, Any] = record["results"]
    try:
        if not results["entries"]:
            raise ValueError("no entries")
        table(results)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): measure again with --runs RUN [RUN ...]") from error
    return results


def front_of(entries: list[dict[str, Any]]) -> list[str]:
    """Return the names on the Pareto front, the fastest first: nothing else is as fast and as accurate."""
    front, best = [], -1.0
    for entry in sorted(entries, key=lambda entry: (entry["latency_ms"], -entry["validation_accuracy"])):
        if entry["validation_accuracy"] > best:
            front.append(str(entry["name"]))
            best = entry["validation_accuracy"]
    return front


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table below the machine; names on the front are bold."""
    entries = results["entries"]
    front = front_of(entries)
    lines = [
        f"Measured on {describe(results['machine'])}",
        "",
        "| network | epochs | parameters | multiply-adds | int8 file | int8, 1 thread | validation, float |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        name = f"**{entry['name']}**" if entry["name"] in front else entry["name"]
        megabytes, millions = entry["int8_bytes"] / 1e6, entry["multiply_adds"] / 1e6
        lines.append(
            f"| {name} | {entry['epochs']} | {entry['parameters'] / 1e3:,.0f} k | {millions:.1f} M "
            f"| {megabytes:.2f} MB | {entry['latency_ms']:.3f} ms "
            f"| {entry['validation_accuracy']:.1%} ± {100 * entry['interval_95']:.1f} |"
        )
    return "\n".join(lines)


def plots(results: dict[str, Any]) -> "dict[str, Figure]":
    """Draw accuracy against latency: short runs of the search hollow, the others filled.

    Raises:
        ImportError: matplotlib is not installed.
    """
    entries = results["entries"]
    figure = new_figure(9, 6)
    axes = figure.subplots()
    points = [(entry["latency_ms"], 100 * entry["validation_accuracy"]) for entry in entries]
    for entry, (x, y) in zip(entries, points, strict=True):
        is_short = entry["epochs"] <= SEARCH_EPOCHS
        axes.errorbar(x, y, 100 * entry["interval_95"], color="lightgray", zorder=1)
        axes.scatter(x, y, s=45, color="white" if is_short else "tab:blue", edgecolor="tab:blue", zorder=3)
    for is_short, label in ((True, f"at most {SEARCH_EPOCHS} epochs"), (False, "longer training")):
        chosen = [entry for entry in entries if (entry["epochs"] <= SEARCH_EPOCHS) == is_short]
        if not chosen:
            continue
        names = front_of(chosen)
        line = sorted((e["latency_ms"], 100 * e["validation_accuracy"]) for e in chosen if e["name"] in names)
        style = "--" if is_short else "-"
        axes.plot(*zip(*line, strict=True), style, color="tab:orange", label=f"Pareto front, {label}", zorder=2)
    axes.set_xscale("log")
    for axis_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis_formatter("{x:g}")
    axes.set_xlabel("int8 latency of a face, one thread, ms (logarithmic)")
    axes.set_ylabel("accuracy on validation images, float, %, and 95 % interval")
    shown = ("processor", "cores", "ai-edge-litert", "tflite-runtime")
    machine = {name: value for name, value in results["machine"].items() if name in shown}
    axes.set_title(f"MienNet's shapes, and others\n{describe(machine)}", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")
    name_points(figure, axes, [(str(entry["name"]), point) for entry, point in zip(entries, points, strict=True)])
    return {"accuracy_against_latency": figure}


def _check_comparable(runs: list[Path]) -> None:
    names = [run.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two runs are named {twice[0]}: give folders of different names")
    sides = {}
    for run in runs:
        settings = _load(run, "run.json")
        sides[run] = [settings.get(name) for name in COMPARABLE]
    for run, side in sides.items():
        if side != sides[runs[0]]:
            raise ValueError(f"{run} divided the data otherwise than {runs[0]}: give runs with one --data and --seed")


def _load(run: Path, name: str) -> dict[str, Any]:
    path = run / name
    if not path.exists():
        raise FileNotFoundError(f"no finished run at {run}: {name} is missing")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): finish the run again with --resume") from error


def _read(run: Path) -> tuple[dict[str, Any], Path]:
    """Return what training says of a run, and its int8 file."""
    settings, evaluation = (_load(run, name) for name in ("run.json", "evaluation.json"))
    try:
        entry = {
            "name": run.name,
            "model": settings["model"],
            "epochs": settings["epochs"],
            "parameters": evaluation["cost"]["parameters"],
            "multiply_adds": evaluation["cost"]["multiply_adds"],
            "validation_accuracy": evaluation["validation"]["accuracy"],
            "interval_95": evaluation["validation"]["interval_95"],
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"{run} is damaged ({error!r}): finish the run again with --resume") from error
    ours = [file for file in MODELS_DIR.glob("*_int8.tflite") if file.stem != FINDER and _is_from(file, settings)]
    files = sorted(run.glob("*_int8.tflite")) or ours
    if len(files) != 1:
        found = f"{len(files)} int8 files, allowed is one" if files else "no int8 file"
        raise FileNotFoundError(f"{run} has {found}: python -m convert {run} --data fer2013.csv")
    return entry, files[0]


def _is_from(file: Path, settings: dict[str, Any]) -> bool:
    """Return whether a file of the package was converted from the run with these settings."""
    return bool(read_card(file.with_suffix(".json")).made.get("training") == settings)
