"""How long a face takes: loading, the first and any later inference, how near to the processor's peak, in what memory.

`python -m benchmarks latency`. Every runtime is measured in processes of its own (`python -m benchmarks.latency`, asked
and answered in JSON), since tflite-runtime has an environment of its own, and what crashes there takes nothing along.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.operators import arithmetic, profile_table, read_operators, time_prefixes, write_prefixes
from benchmarks.peak import find_peak, peak_share
from mien.classifier import EmotionClassifier
from mien.faces import Image
from mien.interpreter import RUNTIMES, load_runtime
from mien.native_log import quiet_native_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
OLD_PYTHON = ROOT / ".venv" / "tflite-runtime" / "bin" / "python"
"""Where `script/setup train` puts tflite-runtime, which needs an older numpy."""

SECONDS, RUNS = 10.0, 1000
ROUNDS = 10
LOADS = 5
WARM_UP_RUNS, WARM_UP_S = 3, 0.05
"""Before each turn: threads of the model before go on spinning for some milliseconds, and hold its cores."""

MEMORY_RUNS = 20
PAPER_MODEL = "cnn_int8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    from benchmarks.models import add_models_argument

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
        {"points", "memory", "peak", "profile": None without `--profile`, "failed": models with a reason,
        "left_out": runtimes with a reason}.

    Raises:
        FileNotFoundError: a model does not exist.
        ValueError: a flag is out of range, or no model could be measured.
        ImportError: no runtime is there.
    """
    from benchmarks.models import chosen_models

    threads = _checked_threads(arguments)
    models = [model.resolve() for model in chosen_models(arguments, keras=False)]
    pythons, left_out = find_pythons(arguments.runtimes or list(RUNTIMES)[:2])
    results: dict[str, Any] = {"points": [], "memory": [], "peak": find_peak()}
    results |= {"profile": [] if arguments.profile else None, "failed": [], "left_out": left_out}
    for runtime, python in pythons.items():
        at_most_s = arguments.seconds * len(models) * len(threads)
        print(
            f"{runtime}: {len(models)} models, {_listed(threads)} threads, {at_most_s:.0f} s at most", file=sys.stderr
        )
        sound = _measure_memory(python, runtime, models, results)
        request = {"task": "points", "runtime": runtime, "models": [str(model) for model in sound], "threads": threads}
        request |= {"seconds": arguments.seconds, "runs": arguments.runs}
        with _noting_failure("all", runtime, results):
            results["points"] += _ask(python, request) if sound else []
        for model in sound if arguments.profile else []:
            with _noting_failure(model.stem, runtime, results):
                results["profile"].append(_profile(python, runtime, model, threads[0], arguments.seconds))
    if not results["points"]:
        raise ValueError(f"no model could be measured: {results['failed'][0]['reason']}")
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


def find_pythons(runtimes: list[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return (runtime -> the Python that has it, {"runtime", "reason"} of each that is missing).

    Raises:
        ImportError: none is there.
    """
    pythons, left_out = {}, []
    for runtime in runtimes:
        try:
            with quiet_native_log():
                load_runtime(runtime)
            pythons[runtime] = sys.executable
        except ImportError as error:
            if runtime == "tflite-runtime" and OLD_PYTHON.exists():
                pythons[runtime] = str(OLD_PYTHON)
            else:
                left_out.append({"runtime": runtime, "reason": str(error)})
    if not pythons:
        raise ImportError(left_out[0]["reason"])
    return pythons, left_out


def _ask(python: str, request: dict[str, Any]) -> Any:
    """Have a fresh process measure; raise ValueError with its one line when it cannot."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "edge")])}
    worker = subprocess.run(
        [python, "-m", "benchmarks.latency"],
        input=json.dumps(request),
        env=environment,
        cwd=ROOT,
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
        results["failed"].append({"model": model, "runtime": runtime, "reason": str(error)})
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


@dataclass
class _Point:
    """A model with a number of threads, and the milliseconds of its runs, round by round."""

    model: Path
    threads: int
    classifier: EmotionClassifier
    load_ms: float
    first_ms: float
    rounds_ms: list[list[float]] = field(default_factory=list)


def measure_points(
    models: list[str], threads: list[int], runtime: str, seconds: float, runs: int
) -> list[dict[str, Any]]:
    """Time `EmotionClassifier.predict` on one random face, in this process.

    Args:
        seconds, runs: for each model and number of threads, whichever is over first.

    Returns:
        For each {"model", "runtime", "threads", "load_ms" and "first_ms": medians of some loads with the file in the
        disk's cache, "runs", "median_ms", "p90_ms", "p99_ms", "round_medians_ms", "multiply_adds", "arithmetic",
        "gmacs_per_s": G multiply-adds per second}.
    """
    points = [_load(Path(model), count, runtime) for model in models for count in threads]
    for _ in range(ROUNDS):
        for point in points:
            point.rounds_ms.append(_turn(point.classifier, seconds / ROUNDS, runs // ROUNDS))
    return [_figures(point, runtime) for point in points]


def _load(model: Path, threads: int, runtime: str) -> _Point:
    face, loads_ms, firsts_ms = _random_face(), [], []
    for _ in range(LOADS):
        start_s = time.perf_counter()
        with quiet_native_log():
            classifier = EmotionClassifier(model, threads, runtime)
        loads_ms.append((time.perf_counter() - start_s) * 1000)
        firsts_ms.append(_time_ms(classifier, face))
    return _Point(model, threads, classifier, float(np.median(loads_ms)), float(np.median(firsts_ms)))


def _random_face() -> Image:
    return np.random.default_rng(0).integers(0, 256, (1, 48, 48), np.uint8)


def _time_ms(classifier: EmotionClassifier, face: Image) -> float:
    start_s = time.perf_counter()
    classifier.predict(face)
    return (time.perf_counter() - start_s) * 1000


def _turn(classifier: EmotionClassifier, seconds: float, runs: int) -> list[float]:
    face, warm_up_runs = _random_face(), 0
    end_s = time.perf_counter() + min(WARM_UP_S, seconds)
    while time.perf_counter() < end_s or warm_up_runs < WARM_UP_RUNS:
        classifier.predict(face)
        warm_up_runs += 1
    times_ms: list[float] = []
    end_s = time.perf_counter() + seconds
    while len(times_ms) < runs and (time.perf_counter() < end_s or not times_ms):
        times_ms.append(_time_ms(classifier, face))
    return times_ms


def _figures(point: _Point, runtime: str) -> dict[str, Any]:
    operators = read_operators(point.model.read_bytes(), runtime)
    multiply_adds = sum(operator.multiply_adds for operator in operators)
    times_ms = np.concatenate(point.rounds_ms)
    median_ms, p90_ms, p99_ms = np.percentile(times_ms, [50, 90, 99])
    return {
        "model": point.model.stem,
        "runtime": runtime,
        "threads": point.threads,
        "load_ms": round(point.load_ms, 2),
        "first_ms": round(point.first_ms, 3),
        "runs": len(times_ms),
        "median_ms": round(float(median_ms), 4),
        "p90_ms": round(float(p90_ms), 4),
        "p99_ms": round(float(p99_ms), 4),
        "round_medians_ms": [round(float(np.median(times)), 4) for times in point.rounds_ms],
        "multiply_adds": multiply_adds,
        "arithmetic": arithmetic(operators),
        "gmacs_per_s": round(multiply_adds / float(median_ms) / 1e6, 2),
    }


def measure_memory(model: str, runtime: str) -> dict[str, Any]:
    """Load and run a model in this process, which shall be a fresh one.

    Returns:
        {"model", "runtime", "peak_mb": the most memory that the process had (10^6 bytes), "import_mb": likewise
        before the model, with numpy and the runtime imported, "increase_mb"}; None where /proc does not tell.
    """
    load_runtime(runtime)
    import_mb = _peak_mb()
    with quiet_native_log():
        classifier = EmotionClassifier(model, 1, runtime)
    face = _random_face()
    for _ in range(MEMORY_RUNS):
        classifier.predict(face)
    peak_mb = _peak_mb()
    increase_mb = round(peak_mb - import_mb, 2) if peak_mb and import_mb else None
    sizes = {"peak_mb": peak_mb, "import_mb": import_mb, "increase_mb": increase_mb}
    return {"model": Path(model).stem, "runtime": runtime, **sizes}


def _peak_mb() -> float | None:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 2)
    return None


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
    failures = [f"- {entry['model']} in {entry['runtime']}: {entry['reason']}" for entry in results["failed"]]
    failures += [f"- nothing in {entry['runtime']}: {entry['reason']}" for entry in results["left_out"]]
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


def _listed(threads: list[int]) -> str:
    return ", ".join(map(str, threads))


def plots(results: dict[str, Any]) -> "dict[str, Figure]":
    """Return {"latency": medians by model and threads, a panel for each runtime, lines up to p99}."""
    from matplotlib.figure import Figure

    runtimes = list(dict.fromkeys(point["runtime"] for point in results["points"]))
    threads = sorted({point["threads"] for point in results["points"]})
    one_thread_ms = {point["model"]: point["median_ms"] for point in reversed(results["points"])}
    models = sorted(one_thread_ms, key=lambda model: one_thread_ms[model])
    height = 1.2 + len(models) * (0.25 + 0.2 * len(threads))
    figure = Figure(figsize=(2.5 + 4.5 * len(runtimes), height), layout="constrained")
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


def answer(request: dict[str, Any]) -> Any:
    """Measure what a request of `run` asks, in this process."""
    task = request.pop("task")
    if task == "memory":
        return measure_memory(**request)
    if task == "points":
        return measure_points(**request)
    files = [Path(file) for file in request.pop("files")]
    return time_prefixes(files, **request)


if __name__ == "__main__":
    try:
        print(json.dumps(answer(json.load(sys.stdin))))
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
