"""README's tables of figures, from the results: what README says is what was measured."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.accuracy_report import accuracy_table
from benchmarks.detection_report import photographs_table
from benchmarks.peers import table as peers_table
from benchmarks.record import RESULTS, Record, read_record

README = Path(__file__).resolve().parent.parent / "README.md"

MACHINE = ("board", "processor", "cores", "python")
"""What a table says of its machine."""

NETWORKS = ("mien_net_float32", "mien_net_int8", "cnn_float32", "cnn_int8")
"""The models whose latency README shows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--check`."""
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if README.md is stale")


def main(arguments: argparse.Namespace) -> int:
    """Write README.md anew; with `--check` only say whether it is stale.

    Raises:
        FileNotFoundError: results are missing.
        ValueError: README names a table that does not exist.
    """
    old = README.read_text(encoding="utf-8")
    new = with_tables(old)
    if arguments.check:
        print("README.md is stale: python -m benchmarks readme" if new != old else "README.md fits its results.")
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


def with_tables(text: str) -> str:
    """Return a text with what stands between `<!-- benchmarks: NAME -->` and `<!-- end -->` made anew."""

    def table(match: re.Match[str]) -> str:
        name = match[1]
        if name not in TABLES:
            raise ValueError(f"README.md names the table {name!r}: allowed are {', '.join(TABLES)}")
        return f"<!-- benchmarks: {name} -->\n{TABLES[name]()}\n<!-- end -->"

    return re.sub(r"<!-- benchmarks: ([\w-]+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def _accuracy() -> str:
    """Return the models' rows, without those of `.tflite` files on TensorFlow, which are as on ai-edge-litert."""
    results = _read("accuracy")["results"]
    models = [
        entry for entry in results["models"] if entry["runtime"] != "tensorflow" or entry["file"].endswith(".keras")
    ]
    runtimes = list(dict.fromkeys(entry["runtime"] for entry in models))
    models.sort(key=lambda entry: (runtimes.index(entry["runtime"]), not entry["model"].startswith("mien_net")))
    return accuracy_table({**results, "models": models})


def _latency() -> str:
    """Return a row for each model and runtime: one thread, then all cores."""
    record = _read("latency")
    points = [point for point in record["results"]["points"] if point["model"] in NETWORKS]
    cores = max(point["threads"] for point in points)
    by_threads = {(point["model"], point["runtime"], point["threads"]): point for point in points}
    lines = [
        f"| model | runtime | load | 1 thread, median / p99 ms | {cores} threads | G multiply-adds/s | of the peak "
        "| times faster than cnn_int8 |",
        "|---" * 8 + "|",
    ]
    for (model, runtime, threads), point in by_threads.items():
        if threads != 1:
            continue
        times = [f"{at['median_ms']:.3f} / {at['p99_ms']:.3f}" for at in (point, by_threads[model, runtime, cores])]
        cells = [model, runtime, f"{point['load_ms']:.1f} ms", *times, _number(point["gmacs_per_s"], "{:.0f}")]
        cells += [_number(point["peak_share"], "{:.0%}"), _number(point["times_faster_than_cnn_int8"], "{:.1f}")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _machine(record)])


def _pipeline() -> str:
    """Return a row for each run of the benchmark: another detector, other threads."""
    records = [read_record(path) for path in sorted(RESULTS.glob("pipeline*.json"))]
    lines = [
        "| detector, threads | mien, frames/s | tutorials' loop | ratio | own part of a frame, ms "
        "| `mien run`: memory | first line after | processor |",
        "|---" * 8 + "|",
    ]
    for record in records:
        results = record["results"]
        speed, process = results["speed"], results["process"]
        cells = [f"{results['detector'].removesuffix('Detector')}, {results['threads']}"]
        cells += [f"{speed[loop]['frames_per_s']:.0f}" for loop in ("mien", "naive")]
        cells += [f"{speed['ratio']:.1f}", f"{results['overhead']['median_ms']:.2f}"]
        cells += [f"{process['peak_mb']:.0f} MB", f"{process['first_line_s']:.2f} s"]
        lines.append(f"| {' | '.join([*cells, record['machine']['processor']])} |")
    return "\n".join(lines)


def _peers() -> str:
    record = _read("peers")
    return f"{peers_table(record['results'])}\n\n{_machine(record)}"


def _detection() -> str:
    record = _read("detection")
    return f"{photographs_table(record['results'])}\n\n{_machine(record)}"


TABLES: dict[str, Callable[[], str]] = {
    "accuracy": _accuracy,
    "latency": _latency,
    "pipeline": _pipeline,
    "peers": _peers,
    "detection": _detection,
}


def _read(name: str) -> Record:
    return read_record(RESULTS / f"{name}.json")


def _machine(record: Record) -> str:
    card = record["machine"]
    return f"({', '.join(f'{name} {card[name]}' for name in MACHINE if name in card)}; `{record['command']}`)"


def _number(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)
