"""What a run of mien takes of the machine: processor time, memory, and the time until it answers."""

import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.clips import Clip, LoopedSource
from benchmarks.machine import condition, other_cpu_s, resident_mb
from benchmarks.stages import spread
from mien.config import Config
from mien.faces import FrameResult, Image
from mien.health import Health
from mien.outputs import Output
from mien.outputs.jsonl import JsonLinesOutput
from mien.recognition import Recognition
from mien.recognizer import EmotionRecognizer
from mien.sources import open_source
from mien.streaming import FINISH_S

STARTS = 3
"""So often `mien run` is started, since the first time its files may not be in the disk's cache."""

SAMPLES = 20

PROGRESS_S = 10
"""Between two lines about a long run."""

COUNTS = ("time_s", "frames", "dropped", "memory_mb", "own_cpu_s")
COLUMNS = (*COUNTS, "other_cpu_s", "temperature_c", "clock_mhz", "flags")


class Watch(Output):
    """An output that writes nothing down: it samples the process and the machine while a stream runs.

    All that it keeps is allocated before the stream starts, so that the memory that grows is not its own.

    Args:
        health: of the stream.
        warm_up_s: from the first frame on, nothing is kept for so long; then the watch lasts `seconds`.
        every_s: a sample.
        frame_rate: of the source.

    Attributes:
        seconds: the watch ends the stream after them.
    """

    queue_size = 100
    is_record = True

    def __init__(self, health: Health, warm_up_s: float, seconds: float, every_s: float, frame_rate: float) -> None:
        self.seconds = seconds
        self._health, self._warm_up_s, self._every_s = health, warm_up_s, every_s
        self._samples = np.full((int(seconds / every_s) + 2, len(COLUMNS)), np.nan)
        self._frames = np.full((int(1.2 * seconds * frame_rate) + 100, 2), np.nan, np.float32)
        self._sampled = self._seen = 0
        self._begin_s: float | None = None
        self._told_s = 0.0

    def write(self, image: Image, result: FrameResult) -> None:
        """Count the frame; sample when it is time."""
        now_s = time.monotonic()
        if self._begin_s is None:
            self._begin_s = now_s + self._warm_up_s
        since_s = now_s - self._begin_s
        if since_s < 0:
            return
        if self._seen < len(self._frames):
            self._frames[self._seen] = since_s, 1000 * result.latency_s
            self._seen += 1
        is_over = since_s >= self.seconds
        if is_over or since_s >= self._sampled * self._every_s:
            self._sample(since_s)
        self.wants_to_stop = is_over

    def samples(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return each of `COLUMNS`, (samples,); NaN where the machine does not tell."""
        return dict(zip(COLUMNS, self._samples[: self._sampled].T, strict=True))

    def latencies(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return when each frame was done, in seconds, and its latency in milliseconds."""
        return self._frames[: self._seen, 0], self._frames[: self._seen, 1]

    def _sample(self, since_s: float) -> None:
        if self._sampled == len(self._samples):
            return
        now = condition()
        flags = None if now["throttled"] is None else int(str(now["throttled"]), 16)
        counts = (since_s, self._health.recognized, self._health.dropped, resident_mb(), time.process_time())
        row = (*counts, other_cpu_s(), now["temperature_c"], now["clock_mhz"], flags)
        self._samples[self._sampled] = [np.nan if value is None else value for value in row]
        self._sampled += 1
        if since_s >= self._told_s + PROGRESS_S:
            self._told_s = since_s
            _, latency_ms = self.latencies()
            print(
                f"{since_s / 60:.1f} of {self.seconds / 60:g} minutes: {self._seen} frames, median "
                f"{np.median(latency_ms[-100:]):.1f} ms, {resident_mb():.1f} MB, {now['temperature_c'] or '?'} °C",
                file=sys.stderr,
            )


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
    latency, period_s = spread(latencies_s), clip.length_s / len(clip.frames)
    return {
        "frames": len(latencies_s),
        "dropped": last + 1 - len(latencies_s),
        "frames_per_s": round(len(latencies_s) / (took_s + period_s), 1),  # of n frames, n - 1 are waited for
        "latency": latency,
        "p95_over_median": round(latency["p95_ms"] / latency["median_ms"], 2),
        "end_to_end": spread(ends_s),
        "cpu": round(cpu_s / took_s, 3),
    }


def measure_memory(clip: Clip, recognizer: EmotionRecognizer, frames: int) -> dict[str, Any]:
    """Watch this process' memory while a looped clip is captured, recognised and written as JSON lines.

    Args:
        frames: watched ones; the warm-up before them is a tenth as many, and one loop of the clip at least.

    Returns:
        {"frames", "samples_mb": memory after each twentieth of the frames, "samples_s": when, "growth_mb": from the
        first to the last, "frames_per_s": of all of it, nothing being waited for, "cpu": CPU seconds in each second}.
    """
    warm_up = max(frames // 10, len(clip.frames))
    every = max(1, frames // SAMPLES)
    samples_mb, samples_s, cpu_s = [], [], []
    recognizer.reset()
    recognition = Recognition(LoopedSource(clip, warm_up + frames), recognizer, Health())
    try:
        with tempfile.TemporaryDirectory() as folder, JsonLinesOutput(Path(folder, "faces.jsonl")) as output:
            for image, result in recognition:
                output.write(image, result)
                after = result.frame + 1 - warm_up
                if after >= 0 and after % every == 0:
                    samples_mb.append(round(resident_mb(), 2))
                    samples_s.append(time.monotonic())
                    cpu_s.append(time.process_time())
    finally:
        recognition.stop()
        recognition.join(FINISH_S)
    took_s = samples_s[-1] - samples_s[0]
    return {
        "frames": frames,
        "samples_mb": samples_mb,
        "samples_s": [round(sample_s - samples_s[0], 2) for sample_s in samples_s],
        "growth_mb": round(samples_mb[-1] - samples_mb[0], 2),
        "frames_per_s": round(every * (len(samples_s) - 1) / took_s, 1),
        "cpu": round((cpu_s[-1] - cpu_s[0]) / took_s, 3),
    }


def measure_process(clip: Clip, config: Config) -> dict[str, Any]:
    """Start `mien run` without a screen, with JSON lines, and read its first lines.

    Returns:
        {"first_line_s": median time from the start to the first line, "peak_mb": the most memory that any of
        the processes had}.

    Raises:
        OSError: it wrote none.
    """
    runs = sorted(_run(clip, config) for _ in range(STARTS))
    return {"first_line_s": round(runs[STARTS // 2][0], 3), "peak_mb": round(max(peak for _, peak in runs), 1)}


def _run(clip: Clip, config: Config) -> tuple[float, float]:
    """Return the seconds to the first line, and the most memory in MB while the clip's frames are worked on."""
    command = [sys.executable, "-m", "mien", "run", "--source", str(clip.path), "--output", "jsonl"]
    command += ["--threads", str(config.threads), "--detector", config.detector]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    started_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        first_line_s = time.perf_counter() - started_s
        if not first:
            raise OSError(f"mien run wrote no line: {process.stderr.read().decode().strip()}")
        lines = islice(process.stdout, len(clip.frames) - 1)
        status = f"/proc/{process.pid}/status"  # of a child that was not waited for, it is there
        peaks_mb = [resident_mb(status, "VmHWM"), *(resident_mb(status, "VmHWM") for _ in lines)]
        process.terminate()
    return first_line_s, max(peaks_mb)
