"""What got better or worse between two results of one benchmark, beyond noise."""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import Record, read_record

HIGHER_IS_BETTER = (
    "accuracy",
    "macro_f1",
    "frames_per_s",
    "gmacs_per_s",
    "clean",
    "average_precision",
    "recall",
    "ratio",
)
LOWER_IS_BETTER = ("_ms", "_mb", "_s", "expected_calibration_error", "log_loss", "false_boxes", "dropped")
"""How names of figures end, or what they are."""

TIMES_NOISE = 0.1
"""Times and memory of two runs differ by so much without a reason: machines share their heat, cores and caches."""

NAMES = ("model", "runtime", "threads", "peer", "detector", "name", "float", "int8", "source")
"""What tells the entries of a list apart."""


@dataclass(frozen=True)
class Change:
    """A figure in both results.

    Attributes:
        figure: where it stands.
        before, after: its values.
        noise: a difference up to it means nothing.
        is_better: whether the change is for the better; None within the noise.
    """

    figure: str
    before: float
    after: float
    noise: float
    is_better: bool | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two files."""
    parser.add_argument("before", type=Path, metavar="A.json", help="what a benchmark wrote with --json")
    parser.add_argument("after", type=Path, metavar="B.json", help="the same, later")


def main(arguments: argparse.Namespace) -> int:
    """Print what changed; 1 if anything got worse.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or they are of different benchmarks.
    """
    before, after = read_record(arguments.before), read_record(arguments.after)
    changes = compare(before, after)
    for line in warnings_of(before, after):
        print(f"{line}\n")
    print(table(changes))
    return int(any(change.is_better is False for change in changes))


def compare(before: Record, after: Record) -> list[Change]:
    """Return each figure that both results have and that has a better side.

    A figure with a 95 % interval beside it changed if the difference is wider than both intervals together (the root
    of the sum of their squares), any other if it is more than a tenth of the value.

    Raises:
        ValueError: they are of different benchmarks, or have no figure in common.
    """
    if before["benchmark"] != after["benchmark"]:
        raise ValueError(
            f"the first file is of {before['benchmark']!r}, the second of {after['benchmark']!r}: give two of one kind"
        )
    olds, news = dict(_figures(before["results"])), dict(_figures(after["results"]))
    changes = [_change(name, olds[name], news[name]) for name in olds.keys() & news.keys()]
    if not changes:
        raise ValueError("the two results have no figure in common: measure the same models, detectors or clips")
    return sorted(changes, key=lambda change: (change.is_better is None, change.is_better is True, change.figure))


def table(changes: list[Change]) -> str:
    """Return the figures that changed as a Markdown table, the worse first, and how many did not."""
    changed = [change for change in changes if change.is_better is not None]
    lines = ["| figure | before | after | noise | |", "|---|---|---|---|---|"]
    for change in changed:
        word = "better" if change.is_better else "**worse**"
        lines.append(f"| {change.figure} | {change.before:.5g} | {change.after:.5g} | ± {change.noise:.2g} | {word} |")
    same = f"{len(changes) - len(changed)} of {len(changes)} figures did not change beyond noise."
    return "\n".join([*lines, "", same]) if changed else same


def warnings_of(before: Record, after: Record) -> list[str]:
    """Return why the two should not be compared: other machines, invalid runs."""
    names = ("board", "processor", "cores", "governor")
    machines = [{name: record["machine"].get(name) for name in names} for record in (before, after)]
    lines = []
    if machines[0] != machines[1]:
        lines.append("The machines differ: times say something of them, not of mien.")
    for which, record in (("first", before), ("second", after)):
        lines += [f"The {which} run is invalid: {reason}" for reason in record["invalid"]]
    return lines


def _figures(results: Any, where: str = "") -> Iterator[tuple[str, tuple[float, float | None]]]:
    """Yield (place, (value, half of its 95 % interval or None)) of each figure that has a better side."""
    if isinstance(results, list):
        for number, entry in enumerate(results):
            if isinstance(entry, dict):
                named = [str(entry[name]) for name in NAMES if isinstance(entry.get(name), str | int)]
                yield from _figures(entry, f"{where}[{' '.join(named) or number}]")
    elif isinstance(results, dict):
        for name, value in results.items():
            place = f"{where}.{name}" if where else name
            if _side(name) and isinstance(value, int | float) and not isinstance(value, bool):
                yield place, (float(value), _interval(results, name))
            else:
                yield from _figures(value, place)


def _interval(results: dict[str, Any], name: str) -> float | None:
    key = "interval_95" if name == "accuracy" else f"{name}_interval_95"
    return results.get(key)


def _side(name: str) -> int:
    """Return 1 where more is better, -1 where less is, 0 where neither."""
    if name.endswith(HIGHER_IS_BETTER):
        return 1
    return -1 if name.endswith(LOWER_IS_BETTER) and not name.endswith(("per_s", "length_s", "interval_s")) else 0


def _change(figure: str, before: tuple[float, float | None], after: tuple[float, float | None]) -> Change:
    (old, old_interval), (new, new_interval) = before, after
    if old_interval is not None and new_interval is not None:
        noise = math.hypot(old_interval, new_interval)
    else:
        noise = TIMES_NOISE * abs(old)
    difference = (new - old) * _side(figure.rsplit(".", 1)[-1])
    return Change(figure, old, new, noise, None if abs(difference) <= noise else difference > 0)
