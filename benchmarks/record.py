"""One run of one benchmark as a JSON file: what was asked, of which machine, in what condition, and what came out.

`schema.json` beside this file says what is in it; docs/benchmarks.md tells it in words.
"""

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import condition, invalid_reasons, machine_card
from mien.files import write_text_whole

SCHEMA_VERSION = 1
RESULTS = Path(__file__).parent / "results"
"""The results that README and docs tell of."""

NOT_MEASURED = "not_measured.json"
"""In a folder of results: which benchmarks of `all` failed, and why."""

KEYS = ("schema_version", "benchmark", "command", "machine", "before", "after", "invalid", "results")

Record = dict[str, Any]


def measure(name: str, command: str, run: Callable[[argparse.Namespace], Any], arguments: argparse.Namespace) -> Record:
    """Run a benchmark between two looks at the machine.

    Args:
        name: of the benchmark.
        command: as it was typed.
        run: returns the results; what it lists there under "invalid" makes the whole run invalid.
        arguments: handed to `run`.
    """
    before, machine = condition(), machine_card()
    started, started_s = datetime.now(UTC), time.perf_counter()
    results = run(arguments)
    seconds, after = time.perf_counter() - started_s, condition()
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark": name,
        "command": command,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": machine,
        "before": before,
        "after": after,
        "invalid": [*invalid_reasons(before, after), *results.get("invalid", [])],
        "results": results,
    }


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    write_text_whole(path, json.dumps(record, indent=1) + "\n")


def read_record(path: Path) -> Record:
    """Read what `write_record` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such record, damaged, or of another version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no results at {path}: `python -m benchmarks NAME --json {path}` writes them")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON or cut off ({error}): measure again") from error
    if not isinstance(record, dict) or (missing := [key for key in KEYS if key not in record]):
        what = f"lacks {missing[0]!r}" if isinstance(record, dict) else "is a list"
        raise ValueError(f"{path} {what}: allowed is a file that `python -m benchmarks NAME --json FILE` wrote")
    if record["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {record['schema_version']}, allowed is {SCHEMA_VERSION}: measure again"
        )
    return record


def read_folder(folder: Path) -> tuple[dict[str, Record], list[str]]:
    """Return (records by file stem, one line for each file that could not be read).

    Raises:
        FileNotFoundError: there is no such folder, or no results in it.
    """
    files = sorted(file for file in folder.glob("*.json") if file.name != NOT_MEASURED)
    if not files:
        raise FileNotFoundError(f"no results in {folder}: `python -m benchmarks all --out {folder}` writes some")
    records, damaged = {}, []
    for file in files:
        try:
            records[file.stem] = read_record(file)
        except ValueError as error:
            damaged.append(str(error))
    return records, damaged


def write_failures(folder: Path, failures: dict[str, str]) -> None:
    """Note which benchmarks failed, and why; none leaves no file."""
    path = folder / NOT_MEASURED
    if failures:
        write_text_whole(path, json.dumps(failures, indent=1) + "\n")
    else:
        path.unlink(missing_ok=True)


def read_failures(folder: Path) -> dict[str, str]:
    """Return what `write_failures` noted."""
    try:
        failures = json.loads((folder / NOT_MEASURED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return failures if isinstance(failures, dict) else {}
