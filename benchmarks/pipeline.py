"""What a run of mien costs on this machine, frame by frame, beside the loop that tutorials write.

    python -m benchmarks pipeline --source party.mp4 --threads 2

Both loops see the same decoded frames, on as many threads, in turns.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.clips import Clip, load_clip
from benchmarks.figures import new_figure
from benchmarks.naive import NaiveLoop
from benchmarks.outputs import measure_outputs
from benchmarks.process import measure_live, measure_memory, measure_process
from benchmarks.stages import measure_capture, measure_overhead, measure_stages, spread
from mien.config import Config, load_settings
from mien.native_log import quiet_native_log
from mien.recognition import make_recognizer
from mien.recognizer import EmotionRecognizer
from mien.sources import Frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WARM_UP = 5

ROUNDS = 3
"""So often both loops play the clip."""

BLOCK = 25
"""After so many frames the other loop has its turn, so that whatever else the machine does hurts both alike."""

MARKERS = {"median_ms": ("median", "o"), "p95_ms": ("p95", "|"), "p99_ms": ("p99", "x")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--source", default="demo", metavar="CLIP", help="a video file (default: demo)")
    parser.add_argument("--threads", default=str(Config.threads), metavar="N", help=f"default: {Config.threads}")
    parser.add_argument("--detector", default=Config.detector, help="finder, haar, yunet or auto (default)")
    parser.add_argument("--frames", type=int, default=300, metavar="N", help="of the clip, at most (default: 300)")
    parser.add_argument(
        "--memory-frames", type=int, default=2000, metavar="N", help="for which memory is watched (default: 2000)"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure; see `measure_pipeline`."""
    for flag, count, least in (("--frames", arguments.frames, 2), ("--memory-frames", arguments.memory_frames, 1)):
        if count < least:
            raise ValueError(f"{flag} {count} must be {least} or more")
    flags = {name: getattr(arguments, name) for name in ("source", "threads", "detector")}
    config = load_settings(flags, environment={}).config
    print("measuring, which takes a minute or two ...", file=sys.stderr)
    return measure_pipeline(config, arguments.frames, arguments.memory_frames)


def measure_pipeline(config: Config, frames: int, memory_frames: int) -> dict[str, Any]:
    """Measure a run with these settings.

    Args:
        config: its `source` is a video file or "demo".
        frames: of the clip, at most.
        memory_frames: for which memory is watched.

    Returns:
        {"clip", "size", "frames", "threads", "detector", "model", "runtime", "speed": as `measure_speed`, "stages":
        {stage: spread}, "overhead": spread, "live", "memory" and "process": as `measure_live`, `measure_memory` and
        `measure_process`, "not_measured": outputs, [{"peer", "why"}]}; a spread is {"mean_ms", "median_ms", "p95_ms",
        "p99_ms"}.

    Raises:
        OSError, ValueError, ImportError: the clip, the detector or the runtime is not there, or no good.
    """
    clip = load_clip(config.source, frames)
    config = replace(config, source=str(clip.path))
    with quiet_native_log():
        recognizer = make_recognizer(config)
        naive = NaiveLoop(config.threads)
    height, width = clip.frames[0].image.shape[:2]
    facts = {
        "clip": clip.path.name,
        "size": f"{width}x{height}",
        "frames": len(clip.frames),
        "threads": config.threads,
        "detector": type(recognizer.detector).__name__,
        "model": config.model,
        "runtime": recognizer.classifier.runtime,
    }
    speed = measure_speed(clip, recognizer, naive)
    recognizer.reset()
    twice = 2 * len(clip.frames)
    spans = {"capture": measure_capture(clip), **measure_stages(recognizer, islice(clip.looped(), twice))}
    recognizer.reset()
    overhead = measure_overhead(recognizer, islice(clip.looped(), twice))
    of_outputs, missing = measure_outputs(clip, recognizer)
    return {
        **facts,
        "speed": speed,
        "stages": {stage: spread(times_s) for stage, times_s in (spans | of_outputs).items()},
        "overhead": spread(overhead),
        "live": measure_live(clip, recognizer),
        "memory": measure_memory(clip, recognizer, memory_frames),
        "process": measure_process(clip, config),
        "not_measured": missing,
    }


def measure_speed(clip: Clip, recognizer: EmotionRecognizer, naive: NaiveLoop) -> dict[str, Any]:
    """Let both loops see the same frames, which are decoded, in turns.

    Returns:
        {"mien" and "naive": {"frames_per_s", "with_box": frames in which a face was found, rightly or not, "cpu_ms":
        of all threads, a frame, and a spread}, "frames": of each, "with_box_in_both", "ratio": of frames/s}. Frames/s
        are those of the medians of the blocks' times.
    """
    loops: dict[str, Callable[[Frame], int]] = {
        "mien": lambda frame: len(recognizer.recognize(frame.image, frame.time_s)),
        "naive": lambda frame: naive.recognize(frame.image),
    }
    size = len(clip.frames)
    times_s = {name: np.zeros((ROUNDS, size)) for name in loops}
    found = {name: np.zeros((ROUNDS, size), bool) for name in loops}
    cpu_s = dict.fromkeys(loops, 0.0)
    for frame in clip.frames[:WARM_UP]:
        for count_faces in loops.values():
            count_faces(frame)
    recognizer.reset()
    looped = clip.looped()
    for turn in range(ROUNDS):
        for start in range(0, size, BLOCK):
            block = list(islice(looped, min(BLOCK, size - start)))
            for name, count_faces in loops.items():
                cpu_s[name] -= time.process_time()
                for place, frame in enumerate(block, start):
                    started_s = time.perf_counter()
                    faces = count_faces(frame)
                    times_s[name][turn, place] = time.perf_counter() - started_s
                    found[name][turn, place] = faces > 0
                cpu_s[name] += time.process_time()
    figures = {
        name: {
            "frames_per_s": _frames_per_s(times),
            "with_box": int(found[name].sum()),
            "cpu_ms": round(1000 * cpu_s[name] / times.size, 4),
            **spread(times.ravel()),
        }
        for name, times in times_s.items()
    }
    return {
        **figures,
        "frames": ROUNDS * size,
        "with_box_in_both": int((found["mien"] & found["naive"]).sum()),
        "ratio": round(figures["mien"]["frames_per_s"] / figures["naive"]["frames_per_s"], 2),
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    speed, live, memory, process = (results[name] for name in ("speed", "live", "memory", "process"))
    titles = ["mean ms", "median", "p95", "p99"]
    loops = [
        [title, f"{loop['frames_per_s']:.1f}", f"{loop['with_box']}", _cpu(loop), *_cells(loop)]
        for title, loop in (("mien", speed["mien"]), ("the naive loop", speed["naive"]))
    ]
    start_mb, end_mb = memory["samples_mb"][0], memory["samples_mb"][-1]
    whole = f", {memory['frames_per_s']:.1f} frames/s and {memory['cpu']:.0%} of a core" if "cpu" in memory else ""
    lines = [
        f"{results['clip']}, {results['frames']} frames of {results['size']}, threads {results['threads']}, "
        f"{results['detector']}, {results['model']} on {results['runtime']}",
        "",
        *_rows(["recognition alone", "frames/s", f"a box in, of {speed['frames']}", "CPU ms", *titles], loops),
        "",
        f"{speed['ratio']:.2f} times the naive loop's frames/s; a box in {speed['with_box_in_both']} frames of both",
        "",
        *_rows(["stage", *titles], [[stage, *_cells(values)] for stage, values in _times(results).items()]),
        "",
        f"- live: {live['frames_per_s']:.1f} frames/s, {live['dropped']} dropped, {live['cpu']:.0%} of a core, "
        f"p95 of frame to result {live['p95_over_median']:.2f} times the median",
        f"- memory: {memory['growth_mb']:+.2f} MB over {memory['frames']:,} frames ({start_mb:.1f} to {end_mb:.1f})"
        f"{whole}",
        f"- mien run --output jsonl: first line after {process['first_line_s']:.2f} s, "
        f"{process['peak_mb']:.1f} MB at most",
        *(f"- {part['peer']} was not measured: {part['why']}" for part in results.get("not_measured", [])),
    ]
    return "\n".join(lines)


def plots(results: dict[str, Any]) -> dict[str, "Figure"]:
    """Draw the time of each stage, from its median to its 99th percentile."""
    times = _times(results)
    figure = new_figure(8, 0.36 * len(times) + 1.6)
    axes = figure.add_subplot()
    places = range(len(times))
    for place, values in zip(places, times.values(), strict=True):
        axes.plot([values["median_ms"], values["p99_ms"]], [place, place], color="0.75", linewidth=3, zorder=1)
        axes.annotate(
            _number(values["median_ms"]), (values["median_ms"], place), (-8, 0),
            textcoords="offset points", ha="right", va="center", fontsize=9,
        )  # fmt: skip
    for key, (label, marker) in MARKERS.items():
        values_ms = [values[key] for values in times.values()]
        axes.scatter(values_ms, places, marker=marker, s=50, color="#1f5f99", label=label, zorder=2)
    axes.set_yticks(places, list(times))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(x=0.12)
    axes.grid(axis="x", color="0.9")
    axes.set_xlabel("milliseconds a frame, logarithmic; the number is the median")
    axes.set_title(f"{results['clip']}, {results['size']}, {results['detector']}, threads {results['threads']}")
    figure.legend(loc="outside lower center", ncols=len(MARKERS), frameon=False)
    return {"pipeline_stages": figure}


def _times(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the spread of each stage, and of the whole."""
    return {
        **results["stages"],
        "mien's own part of recognize": results["overhead"],
        "live, from frame to result": results["live"]["latency"],
        "live, from frame to written line": results["live"]["end_to_end"],
    }


def _frames_per_s(times_s: npt.NDArray[np.float64]) -> float:
    """Return frames/s from (rounds, frames) seconds: of each block, the median round counts."""
    blocks_s = np.add.reduceat(times_s, range(0, times_s.shape[1], BLOCK), axis=1)
    return round(float(times_s.shape[1] / np.median(blocks_s, axis=0).sum()), 2)


def _rows(titles: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows)]


def _cells(spread_: dict[str, float]) -> list[str]:
    return [_number(spread_[name]) for name in ("mean_ms", "median_ms", "p95_ms", "p99_ms")]


def _cpu(figures: dict[str, float]) -> str:
    return _number(figures["cpu_ms"]) if "cpu_ms" in figures else "not measured"  # results of older runs lack it


def _number(value_ms: float) -> str:
    return f"{value_ms:.2f}" if value_ms >= 1 else f"{value_ms:.3f}"
