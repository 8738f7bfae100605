"""Does it hold? The whole stream on a looping clip for minutes or hours: memory, latency, heat.

    python -m benchmarks soak --minutes 60 --source party.mp4

The clip is played at its own speed, as a camera would. A run in which the board throttled, or something else took the
processor, is called invalid. Ctrl-C ends it early; what was measured until then is told.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.clips import LoopedSource, load_clip
from benchmarks.figures import new_figure
from benchmarks.machine import SINCE_START
from benchmarks.process import Watch
from benchmarks.stages import spread
from benchmarks.trends import (
    LEAST_GROWTH_MB,
    MOST_POINTS,
    Floats,
    latency_drift,
    medians_between,
    memory_slope,
    plain,
    thinned,
)
from mien.config import Config, load_settings
from mien.device import THROTTLE_FLAGS
from mien.health import Health
from mien.native_log import quiet_native_log
from mien.outputs.jsonl import JsonLinesOutput
from mien.recognition import make_recognizer
from mien.streaming import run_stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_FRAMES = 300
LOG_MB = 10

FEWEST_SAMPLES = 30
"""Three in each tenth of the run."""

STALL_S = 3
OTHER_CORES = 0.25
CLOCK_CHANGE = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--minutes", type=float, default=10, metavar="N", help="after the warm-up (default: 10)")
    parser.add_argument("--source", default="demo", metavar="CLIP", help="a video file (default: demo)")
    parser.add_argument("--threads", default=str(Config.threads), metavar="N", help=f"default: {Config.threads}")
    parser.add_argument("--detector", default=Config.detector, help="finder, haar, yunet or auto (default)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let the stream run, with JSON lines written.

    Returns:
        what `evaluate` returns, and {"clip", "size", "threads", "detector", "model", "runtime"}.

    Raises:
        OSError, ValueError, ImportError: the clip, the detector or the runtime is not there, or no good; or the run
            ended before anything was measured.
    """
    if not 0 < arguments.minutes <= 7 * 24 * 60:
        raise ValueError(f"--minutes {arguments.minutes:g}: allowed is more than 0, and a week (10080) at most")
    flags = {name: getattr(arguments, name) for name in ("source", "threads", "detector")}
    config = load_settings(flags, environment={}).config
    clip = load_clip(config.source, MOST_FRAMES)
    with quiet_native_log():
        recognizer = make_recognizer(replace(config, source=str(clip.path)))
    seconds, source, health = 60 * arguments.minutes, LoopedSource(clip, None, is_live=True), Health()
    # A sample a second; more in a short run, and no more than an hour's worth in a long one.
    every_s = max(0.1, min(1.0, seconds / 100), seconds / 3600)
    warm_up_s = min(60.0, seconds / 4)
    print(f"warming up for {warm_up_s:.0f} s, then measuring for {arguments.minutes:g} minutes ...", file=sys.stderr)
    watch = Watch(health, warm_up_s, seconds, every_s, source.frame_rate)
    problem = None
    with tempfile.TemporaryDirectory() as folder:
        outputs = {"jsonl": JsonLinesOutput(Path(folder, "faces.jsonl"), LOG_MB), "watch": watch}
        try:
            run_stream(source, recognizer, outputs, health)
        except OSError as error:  # hours that were measured are not thrown away
            problem = f"the stream failed: {error}"
    height, width = clip.frames[0].image.shape[:2]
    facts = {
        "clip": clip.path.name,
        "size": f"{width}x{height}",
        "threads": config.threads,
        "detector": type(recognizer.detector).__name__,
        "model": config.model,
        "runtime": recognizer.classifier.runtime,
    }
    results = evaluate(watch, arguments.minutes)
    return {**facts, **results, "invalid": [*results["invalid"], *([problem] if problem else [])]}


def evaluate(watch: Watch, minutes: float) -> dict[str, Any]:
    """Return what a watch has seen.

    Returns:
        {"minutes", "minutes_measured", "samples", "frames", "dropped", "frames_per_s", "latency": spread, "cpu": CPU
        seconds in each second, "other_cpu": those of all else, "memory": {"start_mb", "end_mb"} and `memory_slope`,
        "drift": `latency_drift`, "temperature_c" and "clock_mhz": [least, most] or None, "throttled": all flags that
        were seen, or None, "series": {"time_s", "memory_mb", "latency_ms", "temperature_c", "clock_mhz"}, "invalid":
        reasons}.

    Raises:
        ValueError: it has seen next to nothing.
    """
    samples, (times_s, latencies_ms) = watch.samples(), watch.latencies()
    if len(samples["time_s"]) < 2 or samples["time_s"][-1] <= 0:
        raise ValueError("the run ended before anything was measured")
    took_s = float(samples["time_s"][-1] - samples["time_s"][0])
    gain = {name: float(samples[name][-1] - samples[name][0]) for name in samples}
    hours, memory_mb = thinned(samples["time_s"]) / 3600, thinned(samples["memory_mb"])
    edges_s = np.linspace(0, samples["time_s"][-1], min(MOST_POINTS, len(samples["time_s"])) + 1)
    flags = samples["flags"][~np.isnan(samples["flags"])].astype(int)
    other_cpu = None if np.isnan(gain["other_cpu_s"]) else round(max(0.0, gain["other_cpu_s"] / took_s), 3)
    return {
        "minutes": minutes,
        "minutes_measured": round(took_s / 60, 2),
        "samples": len(samples["time_s"]),
        "frames": int(gain["frames"]),
        "dropped": int(gain["dropped"]),
        "frames_per_s": round(gain["frames"] / took_s, 2),
        "latency": spread(latencies_ms / 1000),
        "cpu": round(gain["own_cpu_s"] / took_s, 3),
        "other_cpu": other_cpu,
        "memory": {
            "start_mb": round(float(samples["memory_mb"][0]), 2),
            "end_mb": round(float(samples["memory_mb"][-1]), 2),
            **memory_slope(hours, memory_mb),
        },
        "drift": latency_drift(latencies_ms),
        "temperature_c": _range(samples["temperature_c"]),
        "clock_mhz": _range(samples["clock_mhz"]),
        "throttled": hex(int(np.bitwise_or.reduce(flags))) if len(flags) else None,
        "series": {
            **{name: plain(thinned(samples[name])) for name in ("time_s", "memory_mb", "temperature_c", "clock_mhz")},
            "latency_time_s": plain((edges_s[1:] + edges_s[:-1]) / 2),
            "latency_ms": plain(medians_between(edges_s, times_s, latencies_ms)),
        },
        "invalid": [*_throttling(flags), *_disturbances(samples, minutes, other_cpu or 0)],
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    memory, drift, latency = results["memory"], results["drift"], results["latency"]
    other_cpu = "unknown" if results["other_cpu"] is None else f"{results['other_cpu']:.0%}"
    rows = {
        "frames": f"{results['frames']:,}, {results['frames_per_s']:.1f} a second, {results['dropped']:,} dropped",
        "latency, frame to result": f"median {latency['median_ms']:.2f} ms, p95 {latency['p95_ms']:.2f}, "
        f"p99 {latency['p99_ms']:.2f}",
        "latency drift": f"{drift['drift_ms']:+.2f} ms from the first tenth ({drift['first_ms']:.2f}) to the last "
        f"({drift['last_ms']:.2f}), noise {drift['noise_ms']:.2f}: "
        + ("more than noise" if drift["drifts"] else "no more than noise"),
        "memory": f"{memory['start_mb']:.1f} to {memory['end_mb']:.1f} MB",
        "memory slope": f"{memory['mb_per_hour']:+.2f} MB/hour (95 % {memory['low']:+.2f} to {memory['high']:+.2f}, "
        f"{memory['method']}): "
        + ("it grows" if memory["grows"] else f"no growth seen beyond noise and {LEAST_GROWTH_MB:g} MB"),
        "processor": f"{results['cpu']:.0%} of a core; all else {other_cpu}",
        "temperature": _span(results["temperature_c"], "°C"),
        "clock": _span(results["clock_mhz"], "MHz"),
        "throttled": results["throttled"] or "this machine does not tell",
        "valid": "NO: " + "; ".join(results["invalid"]) if results["invalid"] else "yes",
    }
    return "\n".join(
        [
            f"{results['minutes_measured']:g} minutes of {results['clip']} ({results['size']}), live, threads "
            f"{results['threads']}, {results['detector']}, {results['model']} on {results['runtime']}",
            "",
            "| soak | |",
            "| --- | --- |",
            *(f"| {name} | {text} |" for name, text in rows.items()),
        ]
    )


def plots(results: dict[str, Any]) -> dict[str, "Figure"]:
    """Draw memory, latency and, where it is known, temperature over time."""
    series = results["series"]
    panels = [
        ("memory, MB", "time_s", "memory_mb"),
        ("latency, ms\n(medians)", "latency_time_s", "latency_ms"),
        ("temperature, °C", "time_s", "temperature_c"),
    ]
    panels = [panel for panel in panels if any(value is not None for value in series[panel[2]])]
    figure = new_figure(8, 2 * len(panels) + 0.8)
    for axes, (label, times, name) in zip(
        figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True
    ):
        values = np.array(series[name], float)
        axes.plot(np.array(series[times]) / 60, values, color="#1f5f99", linewidth=1.2)
        # A curve of noise alone should not fill its panel: 10 % around the middle are shown at least.
        middle = float(np.nanmedian(values))
        axes.set_ylim(min(np.nanmin(values), 0.95 * middle), max(np.nanmax(values), 1.05 * middle))
        axes.ticklabel_format(useOffset=False)
        axes.set_ylabel(label)
        axes.grid(color="0.9")
    axes.set_xlabel("minutes after the warm-up")
    title = f"{results['clip']}, {results['detector']}, threads {results['threads']}"
    figure.suptitle(title + (" - INVALID" if results["invalid"] else ""), fontsize=11)
    return {"soak": figure}


def _throttling(flags: npt.NDArray[np.int64]) -> list[str]:
    """Return a reason for each fault that the firmware told, or remembers, from the samples."""
    reasons = []
    for bit, fault in THROTTLE_FLAGS.items():
        if share := float((flags >> bit & 1).mean()) if len(flags) else 0.0:
            reasons.append(f"{fault} in {share:.0%} of the samples")
        elif len(flags) and (flags & ~flags[0]).max() >> bit + SINCE_START & 1:
            reasons.append(f"{fault} between two samples")
    return reasons


def _disturbances(samples: Mapping[str, Floats], minutes: float, other_cpu: float) -> list[str]:
    """Return why the run is no fair one, but for throttling."""
    times_s, clock_mhz, reasons = samples["time_s"], samples["clock_mhz"], []
    if times_s[-1] < 60 * minutes - 0.1:
        reasons.append(f"ended after {times_s[-1] / 60:.3g} of {minutes:g} minutes")
    if len(times_s) < FEWEST_SAMPLES:
        reasons.append(f"too few samples: {len(times_s)}, and {FEWEST_SAMPLES} are needed; run for longer")
    if (stall_s := float(np.diff(times_s).max()) - float(np.median(np.diff(times_s)))) > STALL_S:
        reasons.append(f"no frame for {stall_s:.0f} s")
    tenth = max(1, len(clock_mhz) // 10)
    first, last = float(np.median(clock_mhz[:tenth])), float(np.median(clock_mhz[-tenth:]))
    if abs(last - first) > CLOCK_CHANGE * first:
        reasons.append(f"the clock went from {first:.0f} to {last:.0f} MHz")
    if other_cpu > OTHER_CORES:
        reasons.append(f"other processes took {other_cpu:.2f} of {os.cpu_count()} cores")
    return reasons


def _range(values: Floats) -> list[float] | None:
    return None if np.isnan(values).all() else [round(float(pick(values)), 1) for pick in (np.nanmin, np.nanmax)]


def _span(range_: list[float] | None, unit: str) -> str:
    return f"{range_[0]:g} to {range_[1]:g} {unit}" if range_ else "this machine does not tell"
