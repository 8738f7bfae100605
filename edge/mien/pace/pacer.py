"""Measures a live stream and its board, and slows the stream as `mien.pace.controller` decides.

It has a thread of its own: asking the firmware is a program that may hang, which no frame must wait for.
"""

import logging
import math
import os
import threading
import time
from pathlib import Path

from mien.config import Config
from mien.device import ROOT, board_name, temperature_c, throttled_flags
from mien.health import Health
from mien.pace.controller import USUAL_TIMING, Controller, Load, Timing
from mien.sources.base import Source

logger = logging.getLogger(__name__)


class Pacer:
    """Measures a live stream and its board in a thread of its own, and says what a frame may cost.

    Args:
        controller: decides.
        health: is read, and told why and how far the stream is slowed.
        timing: how often it looks.
        root: where /proc and /sys are.

    Attributes:
        pace: replaced as a whole when it changes.
        busy_s: seconds that recognising has taken in all; the thread that recognises adds to it.
    """

    def __init__(
        self, controller: Controller, health: Health, timing: Timing = USUAL_TIMING, root: Path = ROOT
    ) -> None:
        self._controller, self._health, self._timing, self._root = controller, health, timing, root
        self.pace = controller.pace
        self.busy_s = 0.0
        self._due_s = -math.inf
        self._told = (0, "")
        self._is_told_hopeless = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pace", daemon=True)

    def takes(self, now_s: float) -> bool:
        """Return whether a frame that comes now is to be recognised; asked for each frame, by one thread."""
        period_s = self.pace.period_s
        if now_s < self._due_s:
            return False
        # Counted from when it was due, or of 25 frames/s a target of 10 would take 8.
        self._due_s = max(self._due_s, now_s - period_s) + period_s
        return True

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; waits for nothing."""
        self._stopped.set()

    def _work(self) -> None:
        is_raspberry = (board_name(self._root) or "").startswith("Raspberry Pi")
        heat_due_s, last, last_s = -math.inf, self._counts(), time.monotonic()
        while True:
            if last_s >= heat_due_s:
                heat_due_s = last_s + self._timing.heat_tick_s
                # Others have other limits: a laptop's processor is well at 90 °C.
                processor_c = temperature_c(self._root) if is_raspberry else None
                self._controller.look_at_board(last_s, processor_c, throttled_flags(self._root))
            self._tell()
            if self._stopped.wait(self._timing.tick_s):
                return
            counts, now_s = self._counts(), time.monotonic()
            captured, recognized, busy_s, cpu_s = (
                (now - before) / (now_s - last_s) for now, before in zip(counts, last, strict=True)
            )
            self._controller.look_at_load(now_s, Load(captured, recognized, busy_s, 100 * cpu_s / _cores()))
            last, last_s = counts, now_s

    def _counts(self) -> tuple[float, float, float, float]:
        """Return frames captured and recognised, and seconds of recognising and of all processor time, so far."""
        return self._health.captured, self._health.recognized, self.busy_s, time.process_time()

    def _tell(self) -> None:
        """Publish what has changed; a line in the log for each step on a hot board, one for a budget at work."""
        controller, pace = self._controller, self._controller.pace
        if pace != self.pace:
            self.pace = pace
        level, reason = controller.level, controller.reason
        self._health.set_slowed(level, reason)
        if controller.cannot_hold and not self._is_told_hopeless:
            self._is_told_hopeless = True
            logger.warning("max_cpu cannot be held: capture and outputs alone take more; try a smaller --frame-rate")
        told, self._told = self._told, (level, reason)
        if reason and (reason != told[1] or (controller.is_hot and level != told[0])):
            is_worse = controller.is_hot and level > told[0]
            how = f"the whole frame is searched once in {pace.detect_interval_s:g} s"
            how += f", {1 / pace.period_s:.3g} frames/s at most" if pace.period_s else ""
            logger.log(logging.WARNING if is_worse else logging.INFO, "slowed to level %d (%s): %s", level, reason, how)
        elif told[1] and not reason:
            logger.info("not slowed any more (it was: %s)", told[1])


def make_pacer(config: Config, source: Source, health: Health) -> Pacer | None:
    """Return what paces a live source; None for a file, whose result must not depend on the machine's speed."""
    if not source.is_live:
        if config.target_fps or config.max_cpu:
            logger.warning(
                "target_fps and max_cpu are for cameras: of a file, every frame is recognised as configured; "
                "--realtime plays a video as a camera would"
            )
        return None
    controller = Controller(config.detect_interval_s, config.detect_side, config.target_fps, config.max_cpu)
    return Pacer(controller, health)


def _cores() -> int:
    return os.cpu_count() or 1
