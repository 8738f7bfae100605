"""How long a face takes: loading, the first and any later inference, how near to the processor's peak, in what memory.

`python -m benchmarks latency`. Every runtime is measured in processes of its own (`latency_worker.py`), since
tflite-runtime has an environment of its own, and what crashes there takes nothing along.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.latency_report import PAPER_MODEL, listed, plots, table
from benchmarks.latency_worker import ROUNDS
from benchmarks.models import add_models_argument, chosen_models
from benchmarks.operators import read_operators, write_prefixes
from benchmarks.peak import find_peak, peak_share
from benchmarks.runtimes import environment, find_runtimes
from mien.interpreter import RUNTIMES

__all__ = ["add_arguments", "plots", "run", "table"]

SECONDS, RUNS = 10.0, 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    add_models_argument(parser)
    parser.add_argument("--threads", type=int, nargs="+", metavar="N", help="default: 1 to the number of cores")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"a model and number of threads, at most (default: {SECONDS:g})"
    )
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"likewise, at most (default: {RUNS})")
    parser.add_argument(
        "--runtimes", nargs="+", choices=RUNTIMES, help="default: ai-edge-litert and tflite-runtime, where they are"
    )
    parser.add_argument("--profile", action="store_true", help="how long each operator takes, too")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all `.tflite` models in all runtimes; they take turns, so that disturbances hit all alike.

    Returns:
        {"points", "memory", "peak", "profile": None without `--profile`, "failed": models with the reason,
        "not_measured": runtimes with the reason}.

    Raises:
        FileNotFoundError: a model does not exist.
        ValueError: a flag is out of range, or no model could be measured.
        ImportError: no runtime is there.
    """
    threads = _checked_threads(arguments)
    models = [model.resolve() for model in chosen_models(arguments, keras=False)]
    runtimes, missing = find_runtimes(arguments.runtimes or list(RUNTIMES)[:2])
    results: dict[str, Any] = {"points": [], "memory": [], "peak": find_peak()}
    results |= {"profile": [] if arguments.profile else None, "failed": []}
    results["not_measured"] = [{"peer": name, "why": why} for name, why in missing.items()]
    for runtime, python in ((each.name, str(each.python)) for each in runtimes):
        most_s = arguments.seconds * len(models) * len(threads)
        print(f"{runtime}: {len(models)} models, {listed(threads)} threads, {most_s:.0f} s at most", file=sys.stderr)
        sound = _measure_memory(python, runtime, models, results)
        request = {"task": "points", "runtime": runtime, "models": [str(model) for model in sound], "threads": threads}
        request |= {"seconds": arguments.seconds, "runs": arguments.runs}
        with _noting_failure("all", runtime, results):
            results["points"] += _ask(python, request) if sound else []
        for model in sound if arguments.profile else []:
            with _noting_failure(model.stem, runtime, results):
                results["profile"].append(_profile(python, runtime, model, threads[0], arguments.seconds))
    if not results["points"]:
        raise ValueError(f"no model could be measured: {results['failed'][0]['why']}")
    _compare(results["points"], results["peak"])
    return results


def _checked_threads(arguments: argparse.Namespace) -> list[int]:
    """Return the numbers of threads.

    Raises:
        ValueError: a flag is out of range.
    """
    if arguments.seconds <= 0 or arguments.runs < ROUNDS:
        raise ValueError(
            f"--seconds {arguments.seconds:g} --runs {arguments.runs}: allowed are seconds above 0, and {ROUNDS} runs "
            "or more"
        )
    threads = sorted(set(arguments.threads or range(1, len(os.sched_getaffinity(0)) + 1)))
    if threads[0] < 1:
        raise ValueError(f"--threads {threads[0]}: allowed is 1 or more")
    return threads


def _ask(python: str, request: dict[str, Any]) -> Any:
    """Have a fresh process measure; raise ValueError with its one line when it cannot."""
    worker = subprocess.run(
        [python, "-m", "benchmarks.latency_worker"],
        input=json.dumps(request),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if worker.returncode:
        lines = worker.stderr.strip().splitlines()
        crashed = worker.returncode < 0 or not lines
        reason = f"its process ended with code {worker.returncode}" if crashed else lines[-1].removeprefix("error: ")
        raise ValueError(reason)
    return json.loads(worker.stdout)


def _measure_memory(python: str, runtime: str, models: list[Path], results: dict[str, Any]) -> list[Path]:
    """Run each model in a fresh process; return those that can be run, and note the others as failed."""
    sound = []
    for model in models:
        with _noting_failure(model.stem, runtime, results):
            results["memory"].append(_ask(python, {"task": "memory", "runtime": runtime, "model": str(model)}))
            sound.append(model)
    return sound


@contextmanager
def _noting_failure(model: str, runtime: str, results: dict[str, Any]) -> Iterator[None]:
    """Let what fails here lose nothing else."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        results["failed"].append({"model": model, "runtime": runtime, "why": str(error)})
        print(f"{model} in {runtime}: {error}", file=sys.stderr)


def _profile(python: str, runtime: str, model: Path, threads: int, seconds: float) -> dict[str, Any]:
    print(f"{model.stem} in {runtime}, operator by operator ...", file=sys.stderr)
    operators = read_operators(model.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        files = [str(file) for file in write_prefixes(model, Path(folder))]
        request = {"task": "profile", "runtime": runtime, "files": files, "threads": threads, "seconds": seconds}
        times = _ask(python, request)
    whole_ms = sum(entry["median_ms"] for entry in times)
    rows = [
        {
            "index": index,
            "operator": operator.name,
            "output_shape": list(operator.output_shape),
            "multiply_adds": operator.multiply_adds,
            **entry,
            "share": round(entry["median_ms"] / whole_ms, 4),
        }
        for index, (operator, entry) in enumerate(zip(operators, times, strict=True))
    ]
    return {"model": model.stem, "runtime": runtime, "threads": threads, "operators": rows}


def _compare(points: list[dict[str, Any]], peak: dict[str, Any]) -> None:
    """Add to each point its share of the peak, and how many times faster it is than the paper's network."""
    paper = {
        (point["runtime"], point["threads"]): point["median_ms"] for point in points if point["model"] == PAPER_MODEL
    }
    for point in points:
        point["peak_share"] = peak_share(peak, point["arithmetic"], point["threads"], point["gmacs_per_s"])
        paper_ms = paper.get((point["runtime"], point["threads"]))
        point[f"times_faster_than_{PAPER_MODEL}"] = round(paper_ms / point["median_ms"], 2) if paper_ms else None
