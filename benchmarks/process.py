"""What a run of mien takes of the machine: memory, and the time until it answers."""

import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.clips import Clip, LoopedSource
from mien.config import Config
from mien.health import Health
from mien.outputs.jsonl import JsonLinesOutput
from mien.recognizer import EmotionRecognizer
from mien.streaming import FINISH_S, Recognition

STARTS = 3
"""So often `mien run` is started, since the first time its files may not be in the disk's cache."""

SAMPLES = 20


def measure_memory(clip: Clip, recognizer: EmotionRecognizer, frames: int) -> dict[str, Any]:
    """Watch this process' memory while a looped clip is captured, recognised and written as JSON lines.

    Args:
        frames: watched ones; the warm-up before them is a tenth as many, and one loop of the clip at least.

    Returns:
        {"frames", "samples_mb": memory after each twentieth of the frames, "growth_mb": from the first to the last}.
    """
    warm_up = max(frames // 10, len(clip.frames))
    every = max(1, frames // SAMPLES)
    samples_mb = []
    recognizer.reset()
    recognition = Recognition(LoopedSource(clip, warm_up + frames), recognizer, Health())
    try:
        with tempfile.TemporaryDirectory() as folder, JsonLinesOutput(Path(folder, "faces.jsonl")) as output:
            for image, result in recognition:
                output.write(image, result)
                after = result.frame + 1 - warm_up
                if after >= 0 and after % every == 0:
                    samples_mb.append(round(resident_mb(), 2))
    finally:
        recognition.stop()
        recognition.join(FINISH_S)
    growth_mb = round(samples_mb[-1] - samples_mb[0], 2)
    return {"frames": frames, "samples_mb": samples_mb, "growth_mb": growth_mb}


def resident_mb(status: str = "/proc/self/status", what: str = "VmRSS") -> float:
    """Return a process' resident memory in MB (10^6 bytes); 0 when it has ended.

    Args:
        status: its file in /proc.
        what: "VmRSS" for the memory now, "VmHWM" for the most that it ever had.
    """
    for line in Path(status).read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


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
