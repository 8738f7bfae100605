"""What a run of mien costs on this machine, frame by frame, beside the loop that tutorials write.

    python -m benchmarks pipeline --source party.mp4 --threads 2

Both loops see the same decoded frames, on as many threads, in turns.
"""

import io
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.clips import Clip, load_clip
from benchmarks.naive import NaiveLoop
from benchmarks.process import measure_memory, measure_process
from benchmarks.stages import Spans, measure_overhead, measure_stages, spread
from mien.config import Config
from mien.faces import FrameResult
from mien.health import Health
from mien.native_log import quiet_native_log
from mien.outputs import OutputContext, open_output
from mien.outputs.jsonl import JsonLinesOutput
from mien.recognizer import EmotionRecognizer
from mien.sources import Frame, open_source
from mien.streaming import FINISH_S, Recognition, make_recognizer

WARM_UP = 5

ROUNDS = 3
"""So often both loops play the clip."""

BLOCK = 25
"""After so many frames the other loop has its turn, so that whatever else the machine does hurts both alike."""

OUTPUTS = ("text", "faces.jsonl", "faces.csv", "faces.mp4", "faces.png")
"""Those that need neither a screen nor a network."""


def measure_pipeline(config: Config, frames: int, memory_frames: int) -> dict[str, Any]:
    """Measure a run with these settings.

    Args:
        config: its `source` is a video file or "demo".
        frames: of the clip, at most.
        memory_frames: for which memory is watched.

    Returns:
        {"clip", "size", "frames", "threads", "detector", "model", "runtime", "speed": as `measure_speed`, "stages":
        {stage: spread}, "overhead": spread, "live": as `measure_live`, "memory", "process"}; a spread is
        {"mean_ms", "median_ms", "p95_ms", "p99_ms"}.

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
        "detector": type(recognizer._detector).__name__,
        "model": config.model,
        "runtime": recognizer.classifier.runtime,
    }
    speed = measure_speed(clip, recognizer, naive)
    recognizer.reset()
    spans = {"capture": _time_capture(clip), **measure_stages(recognizer, islice(clip.looped(), 2 * len(clip.frames)))}
    recognizer.reset()
    overhead = measure_overhead(recognizer, islice(clip.looped(), 2 * len(clip.frames)))
    return {
        **facts,
        "speed": speed,
        "stages": {stage: spread(times_s) for stage, times_s in {**spans, **_time_outputs(clip, recognizer)}.items()},
        "overhead": spread(overhead),
        "live": measure_live(clip, recognizer),
        "memory": measure_memory(clip, recognizer, memory_frames),
        "process": measure_process(clip, config),
    }


def measure_speed(clip: Clip, recognizer: EmotionRecognizer, naive: NaiveLoop) -> dict[str, Any]:
    """Let both loops see the same frames, which are decoded, in turns.

    Returns:
        {"mien" and "naive": {"frames_per_s", "with_box": frames in which a face was found, rightly or not, and a
        spread}, "frames": of each, "with_box_in_both", "ratio": of frames/s}. Frames/s are those of the medians of the
        blocks' times.
    """
    loops: dict[str, Callable[[Frame], int]] = {
        "mien": lambda frame: len(recognizer.recognize(frame.image, frame.time_s)),
        "naive": lambda frame: naive.recognize(frame.image),
    }
    size = len(clip.frames)
    times_s = {name: np.zeros((ROUNDS, size)) for name in loops}
    found = {name: np.zeros((ROUNDS, size), bool) for name in loops}
    for frame in clip.frames[:WARM_UP]:
        for count_faces in loops.values():
            count_faces(frame)
    recognizer.reset()
    looped = clip.looped()
    for turn in range(ROUNDS):
        for start in range(0, size, BLOCK):
            block = list(islice(looped, min(BLOCK, size - start)))
            for name, count_faces in loops.items():
                for place, frame in enumerate(block, start):
                    started_s = time.perf_counter()
                    faces = count_faces(frame)
                    times_s[name][turn, place] = time.perf_counter() - started_s
                    found[name][turn, place] = faces > 0
    figures = {
        name: {"frames_per_s": _frames_per_s(times), "with_box": int(found[name].sum()), **spread(times.ravel())}
        for name, times in times_s.items()
    }
    return {
        **figures,
        "frames": ROUNDS * size,
        "with_box_in_both": int((found["mien"] & found["naive"]).sum()),
        "ratio": round(figures["mien"]["frames_per_s"] / figures["naive"]["frames_per_s"], 2),
    }


def measure_live(clip: Clip, recognizer: EmotionRecognizer) -> dict[str, Any]:
    """Play the file at its own speed, as a camera would, with JSON lines written.

    Returns:
        {"frames", "dropped", "frames_per_s", "latency": spread of the time from frame to result, "p95_over_median" of
        it, "end_to_end": spread of the time from frame to written line, "cpu": CPU seconds in each second}.
    """
    latencies_s, ends_s, last = [], [], 0
    recognizer.reset()
    recognition = Recognition(open_source(str(clip.path), Config(realtime=True)), recognizer, Health())
    started_s, cpu_s = time.monotonic(), time.process_time()
    try:
        with tempfile.TemporaryDirectory() as folder, JsonLinesOutput(Path(folder, "faces.jsonl")) as output:
            for image, result in recognition:
                output.write(image, result)
                assert result.taken_s is not None
                ends_s.append(time.monotonic() - result.taken_s)
                latencies_s.append(result.latency_s)
                last = result.frame
                if last + 1 >= len(clip.frames):
                    break
    finally:
        recognition.stop()
    took_s, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
    recognition.join(FINISH_S)
    latency = spread(latencies_s)
    return {
        "frames": len(latencies_s),
        "dropped": last + 1 - len(latencies_s),
        "frames_per_s": round(len(latencies_s) / took_s, 1),
        "latency": latency,
        "p95_over_median": round(latency["p95_ms"] / latency["median_ms"], 2),
        "end_to_end": spread(ends_s),
        "cpu": round(cpu_s / took_s, 3),
    }


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    speed, live, memory, process = (result[name] for name in ("speed", "live", "memory", "process"))
    titles = ["mean ms", "median", "p95", "p99"]
    loops = [
        [title, f"{speed[name]['frames_per_s']:.1f}", f"{speed[name]['with_box']}", *_cells(speed[name])]
        for title, name in (("mien", "mien"), ("the naive loop", "naive"))
    ]
    times = {
        **result["stages"],
        "mien's own part of recognize": result["overhead"],
        "live, from frame to result": live["latency"],
        "live, from frame to written line": live["end_to_end"],
    }
    start_mb, end_mb = memory["samples_mb"][0], memory["samples_mb"][-1]
    lines = [
        f"{result['clip']}, {result['frames']} frames of {result['size']}, threads {result['threads']}, "
        f"{result['detector']}, {result['model']} on {result['runtime']}",
        "",
        *_rows(["recognition alone", "frames/s", f"a box in, of {speed['frames']}", *titles], loops),
        "",
        f"{speed['ratio']:.2f} times the naive loop's frames/s; a box in {speed['with_box_in_both']} frames of both",
        "",
        *_rows(["stage", *titles], [[stage, *_cells(values)] for stage, values in times.items()]),
        "",
        f"live: {live['frames_per_s']:.1f} frames/s, {live['dropped']} dropped, {live['cpu']:.0%} of a core, "
        f"p95 of frame to result {live['p95_over_median']:.2f} times the median",
        f"memory: {memory['growth_mb']:+.2f} MB over {memory['frames']:,} frames ({start_mb:.1f} to {end_mb:.1f})",
        f"mien run --output jsonl: first line after {process['first_line_s']:.2f} s, "
        f"{process['peak_mb']:.1f} MB at most",
    ]
    return "\n".join(lines)


def _frames_per_s(times_s: npt.NDArray[np.float64]) -> float:
    """Return frames/s from (rounds, frames) seconds: of each block, the median round counts."""
    blocks_s = np.add.reduceat(times_s, range(0, times_s.shape[1], BLOCK), axis=1)
    return round(float(times_s.shape[1] / np.median(blocks_s, axis=0).sum()), 2)


def _time_capture(clip: Clip) -> list[float]:
    """Return the seconds until the source has each next frame; the first is read when it opens."""
    times_s = []
    with open_source(str(clip.path)) as source:
        frames = iter(source)
        next(frames)
        for _ in clip.frames[1:]:
            started_s = time.perf_counter()
            next(frames)
            times_s.append(time.perf_counter() - started_s)
    return times_s


def _time_outputs(clip: Clip, recognizer: EmotionRecognizer) -> Spans:
    """Return the seconds that each output takes to write each frame."""
    recognizer.reset()
    results = [
        (frame.image, FrameResult(frame.time_s, frame.index, recognizer.recognize(frame.image, frame.time_s)))
        for frame in clip.frames
    ]
    spans: Spans = {}
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        for name in OUTPUTS:
            times_s = spans[f"output {Path(name).suffix or name}"] = []
            with open_output(name if name == "text" else str(Path(folder, name)), OutputContext()) as output:
                for image, result in results:
                    started_s = time.perf_counter()
                    output.write(image, result)
                    times_s.append(time.perf_counter() - started_s)
    return spans


def _rows(titles: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows)]


def _cells(spread_: dict[str, float]) -> list[str]:
    values = (spread_[name] for name in ("mean_ms", "median_ms", "p95_ms", "p99_ms"))
    return [f"{value:.2f}" if value >= 1 else f"{value:.3f}" for value in values]
