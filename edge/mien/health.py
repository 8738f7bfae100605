"""How a run is doing: counts and rates, written by the stream, read by every output that shows them."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

WINDOW_S = 2.0
"""Rates are those of the last seconds."""


@dataclass(slots=True)
class OutputHealth:
    """What became of the results that one output was given.

    Attributes:
        written: results that it took.
        dropped: results that it missed because it was slow, or lost later, as while a broker was away.
        error: why it ended; "" while it works.
    """

    written: int = 0
    dropped: int = 0
    error: str = ""


@dataclass(slots=True)
class Health:
    """The state of a run; every method may be called from any thread.

    Attributes:
        state: "starting", "running", "waiting" (the source was lost and is looked for) or "stopped".
        problem: one line on why it waits; "" when all is well.
        captured: frames that the source gave.
        recognized: frames with a result.
        dropped: frames that gave way to a newer one before they were recognised.
        skipped: frames that were left out on purpose: see `mien.pace`.
        reconnections: how often the source came back.
        detector: what finds the faces, by the name that `--detector` takes.
        detector_problem: why it does so instead of a better one; "" where it does not.
        slowed: why the stream does less than it is configured to, as heat or a budget; "" when it does not.
        slowed_level: how much less; 0: as configured.
        outputs: by the text that `--output` was given.
    """

    state: str = "starting"
    problem: str = ""
    captured: int = 0
    recognized: int = 0
    dropped: int = 0
    skipped: int = 0
    reconnections: int = 0
    detector: str = ""
    detector_problem: str = ""
    slowed: str = ""
    slowed_level: int = 0
    outputs: dict[str, OutputHealth] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)
    _recent: deque[tuple[float, float]] = field(default_factory=deque)  # (monotonic time of a result, its latency)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_result(self, latency_s: float) -> None:
        """Count a frame with a result, which came `latency_s` after the frame was taken."""
        now_s = time.monotonic()
        with self._lock:
            self.recognized += 1
            self._recent.append((now_s, latency_s))
            self._forget(now_s)

    def set_source(self, state: str, problem: str = "") -> None:
        """Tell that the source is "running", or "waiting" and why; once it is "stopped", it stays so."""
        with self._lock:
            if self.state == "stopped":
                return
            if state == "running" and self.state == "waiting":
                self.reconnections += 1
            self.state, self.problem = state, problem

    def set_slowed(self, level: int, reason: str) -> None:
        """Tell how far the stream is slowed, and why; 0 and "" when it is not."""
        with self._lock:
            self.slowed_level, self.slowed = level, reason

    @property
    def frames_per_s(self) -> float:
        """Results a second, in the last seconds."""
        now_s = time.monotonic()
        with self._lock:
            self._forget(now_s)
            return len(self._recent) / min(WINDOW_S, max(now_s - self.started_s, 1e-3))

    @property
    def latency_s(self) -> float:
        """Median time from frame to result in the last seconds; 0 when there was none."""
        with self._lock:
            latencies = sorted(latency_s for _, latency_s in self._recent)
        return latencies[len(latencies) // 2] if latencies else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return {
            "state": self.state,
            "problem": self.problem,
            "uptime_s": round(time.monotonic() - self.started_s, 1),
            "frames_per_s": round(self.frames_per_s, 1),
            "latency_ms": round(1000 * self.latency_s, 1),
            "captured": self.captured,
            "recognized": self.recognized,
            "dropped": self.dropped,
            "skipped": self.skipped,
            "reconnections": self.reconnections,
            "detector": self.detector,
            "detector_problem": self.detector_problem,
            "slowed": self.slowed,
            "slowed_level": self.slowed_level,
            "outputs": {
                name: {"written": output.written, "dropped": output.dropped, "error": output.error}
                for name, output in list(self.outputs.items())
            },
        }

    def _forget(self, now_s: float) -> None:
        while self._recent and self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
