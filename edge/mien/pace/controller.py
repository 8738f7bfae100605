"""What a frame may cost now: less on a hot or badly powered board, and as little as a budget asks for.

A live stream can be slowed in three ways, in this order: the whole frame is searched less often, on a smaller picture,
and frames are left out. `Controller` decides how far; it knows neither a clock nor a machine, so that a simulation can
drive it. `mien.pace.pacer` measures for it.
"""

import math
from dataclasses import dataclass

from mien.device import THROTTLE_FLAGS
from mien.pace.ladder import Ladder

HOT_C, COOL_C = 78.0, 72.0
"""A Raspberry Pi is slowed from the first on, and recovers below the second. Its firmware lowers the clock from 80 °C
on, and more at 85. The 3B+ has a soft limit, too, of 60 °C unless configured: a flag tells that it is reached.

Source: "Frequency management and thermal control" in
https://www.raspberrypi.com/documentation/computers/raspberry-pi.html
"""

HEAT_STEPS = ((1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (8.0, 0.75), (8.0, 0.5), (8.0, 0.35), (8.0, 0.25))
"""Of each level: by what the time between two searches of the whole frame is multiplied; the share of the frames."""

BUDGET_STEPS = (
    *((factor, 1.0) for factor in (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0)),
    *((8.0, 0.75), (8.0, 0.5)),
)
"""The same multiple, and the share of the side of the picture that is searched."""

SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 0.25, 5.0
"""What is multiplied where every frame is searched as a whole, and what no step exceeds: somebody who comes is seen."""

SMALLEST_SIDE = 160
"""No step makes the searched picture smaller: a detector then misses faces that are an eighth of its height."""

FEWEST_FRAMES_PER_S = 1.0

ENOUGH_FRAMES_PER_S = 10.0
"""A machine that recognises fewer of a camera's frames searches less, with or without a budget: a slow board that
searches whole frames as often as a fast one does hardly anything else. There is room again from twice as many on.
"""

CPU_MUCH, CPU_AIM, CPU_LITTLE, CPU_ROOM = 1.25, 0.95, 0.88, 0.75
"""Shares of `max_cpu`: what is acted on at once, what leaving out frames aims at, below which fewer are left out, below
which more is searched. A step costs a quarter more, or twice as much if it is the picture's side: it wants room.
"""

LOOKS = 3
"""What is not urgent is decided on the mean of so many looks, as people come and go."""

LATE, BUSY, BUSY_ROOM = 0.95, 0.85, 0.65
"""Slower than this share of `target_fps`, while recognising takes this share of the time: the machine is too slow, not
the camera. There is room when it takes less than the last."""


@dataclass(frozen=True)
class Timing:
    """How long what takes, in seconds; a recovery that fails within `probation` doubles the next one's `calm`.

    Attributes:
        tick_s: between two looks at the load.
        heat_tick_s: between two looks at the thermometer and at the firmware's flags.
        heat_pause_s: between two steps down on a hot board, which takes its time to cool.
        heat_calm_s: for so long it must be cool before it recovers by a step.
        heat_probation_s: after a recovery; a board takes long to become hot, if it is only just too much for it.
        heat_longest_calm_s: the most that its calm is doubled to.
        calm_s: for so long there must be room before more is done.
        probation_s: after that.
        longest_calm_s: the most that this calm is doubled to; the room depends on how many people are there.
    """

    tick_s: float = 2.0
    heat_tick_s: float = 5.0
    heat_pause_s: float = 20.0
    heat_calm_s: float = 60.0
    heat_probation_s: float = 3600.0
    heat_longest_calm_s: float = 3600.0
    calm_s: float = 10.0
    probation_s: float = 30.0
    longest_calm_s: float = 300.0


USUAL_TIMING = Timing()


@dataclass(frozen=True, slots=True)
class Pace:
    """What a frame may cost.

    Attributes:
        detect_interval_s: seconds in which the whole frame is searched once; 0: every time.
        detect_side: longer side of the picture that is searched, in pixels.
        period_s: seconds between two frames that are recognised; 0: all.
    """

    detect_interval_s: float
    detect_side: int
    period_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured since the last look.

    Attributes:
        captured_per_s: frames that the source gave.
        frames_per_s: frames that were recognised.
        busy: share of the time that recognising took.
        cpu_percent: of all cores together.
    """

    captured_per_s: float
    frames_per_s: float
    busy: float
    cpu_percent: float


class Controller:
    """Decides what a frame may cost; no clock, no threads.

    Args:
        detect_interval_s: as configured.
        detect_side: as configured.
        target_fps: frames recognised a second, at most and if the machine can do it; 0: all.
        max_cpu: per cent of all cores together; 0: no limit.
        timing: how long it waits for what.
    """

    def __init__(
        self,
        detect_interval_s: float,
        detect_side: int,
        target_fps: float = 0.0,
        max_cpu: float = 0.0,
        timing: Timing = USUAL_TIMING,
    ) -> None:
        self._interval_s, self._side = detect_interval_s, detect_side
        self._target_fps, self._max_cpu = target_fps, max_cpu
        heat_waits = timing.heat_pause_s, timing.heat_calm_s, timing.heat_probation_s, timing.heat_longest_calm_s
        self._heat = Ladder(len(HEAT_STEPS) - 1, *heat_waits)
        budget_waits = 0.0, timing.calm_s, timing.probation_s, timing.longest_calm_s
        self._budget = Ladder(len(BUDGET_STEPS) - 1, *budget_waits)
        self._cpu_fps = math.inf  # at most so many frames/s, for max_cpu's sake
        self._usual_fps = 0.0  # before heat left out frames
        self._looks: list[Load] = []  # since the last step
        self._causes = self._heat_reason = self._budget_reason = ""
        self.cannot_hold = False

    @property
    def level(self) -> int:
        """How slow it is: 0 is as configured."""
        return max(self._heat.level, self._budget.level + (self._cpu_fps < math.inf))

    @property
    def reason(self) -> str:
        """Why it is slower than configured; "" when it is not."""
        reasons = [self._heat_reason] if self._heat.level else []
        if self._budget.level or self._cpu_fps < math.inf:
            reasons.append(self._budget_reason)
        return ", ".join(reasons)

    @property
    def is_hot(self) -> bool:
        """Whether heat or power is among the reasons."""
        return self._heat.level > 0

    @property
    def pace(self) -> Pace:
        """What a frame may cost."""
        hot_factor, frame_share = HEAT_STEPS[self._heat.level]
        budget_factor, side_share = BUDGET_STEPS[self._budget.level]
        interval_s, factor = self._interval_s, max(hot_factor, budget_factor)
        if factor > 1:
            slower_s = max(interval_s, SHORTEST_INTERVAL_S) * factor
            interval_s = max(interval_s, min(slower_s, LONGEST_INTERVAL_S))
        side = max(round(self._side * side_share), min(self._side, SMALLEST_SIDE))
        limits = [self._cpu_fps, self._target_fps or math.inf]
        if frame_share < 1 and self._usual_fps:
            limits.append(max(frame_share * self._usual_fps, FEWEST_FRAMES_PER_S))
        return Pace(interval_s, side, 1 / min(limits))

    def look_at_board(self, now_s: float, processor_c: float | None, flags: int | None) -> None:
        """Take a step if the board is hot or short of power, or has been well for a while.

        Args:
            now_s: monotonic time.
            processor_c: its temperature, where that has a limit that we know.
            flags: bits of `THROTTLE_FLAGS`, where there are some.
        """
        causes = [f"{processor_c:.0f} °C"] if processor_c is not None and processor_c >= HOT_C else []
        causes += [name for bit, name in THROTTLE_FLAGS.items() if (flags or 0) >> bit & 1]
        if causes:
            self._causes = ", ".join(causes)
            if self._heat.slow_down(now_s):
                self._heat_reason = self._causes
        elif processor_c is not None and processor_c >= COOL_C:
            self._heat.hold()
        elif self._heat.recover(now_s):
            self._heat_reason = f"recovering from {self._causes}"

    def look_at_load(self, now_s: float, load: Load) -> None:
        """Take a step if the load is beyond the budget, or has been well within it for a while."""
        if not load.frames_per_s:  # the camera is away: that says nothing
            return
        if HEAT_STEPS[self._heat.level][1] == 1:
            self._usual_fps = load.frames_per_s
        self._looks = [*self._looks[1 - LOOKS :], load]
        is_urgent = self._max_cpu > 0 and load.cpu_percent > CPU_MUCH * self._max_cpu
        if is_urgent or len(self._looks) == LOOKS:
            before = self.pace
            self._spend(now_s, load if is_urgent else _mean(self._looks))
            if self.pace != before:
                self._looks.clear()

    def _spend(self, now_s: float, load: Load) -> None:
        """Keep within the budget."""
        used = load.cpu_percent / self._max_cpu if self._max_cpu else 0.0
        wanted_fps = self._target_fps or ENOUGH_FRAMES_PER_S
        is_late = load.frames_per_s < LATE * wanted_fps and load.busy > BUSY
        is_idle = load.busy < BUSY_ROOM or (not self._target_fps and load.frames_per_s > 2 * wanted_fps)
        has_room = used < CPU_ROOM and is_idle
        if used > 1 and self._budget.level == self._budget.most:
            self._leave_out_frames(load, used)
        elif used > 1 or is_late:
            self._budget_reason = f"max_cpu {self._max_cpu:g} %" if used > 1 else f"below {wanted_fps:g} frames/s"
            is_far_off = used > 1.5 or load.frames_per_s < wanted_fps / 2
            self._budget.slow_down(now_s, 2 if is_far_off else 1)
        elif self._heat.level:  # what there is of room is heat's doing
            self._budget.hold()
        elif self._cpu_fps < math.inf:
            self._take_more_frames(load, used)
        elif has_room:
            self._budget.recover(now_s)
        else:
            self._budget.hold()

    def _leave_out_frames(self, load: Load, used: float) -> None:
        self.cannot_hold = self._cpu_fps == FEWEST_FRAMES_PER_S
        # What does not depend on the frames (the capture) makes each step too small, never too large: it converges.
        allowed = min(self._cpu_fps, load.frames_per_s) * CPU_AIM / used
        self._cpu_fps = max(allowed, FEWEST_FRAMES_PER_S)

    def _take_more_frames(self, load: Load, used: float) -> None:
        self._budget.hold()
        if used < CPU_LITTLE:
            self._cpu_fps *= min(CPU_AIM / max(used, 1e-3), 1.25)
        if self._cpu_fps > 1.05 * min(load.captured_per_s, self._target_fps or math.inf):
            self._cpu_fps = math.inf


def _mean(loads: list[Load]) -> Load:
    columns = zip(
        *((load.captured_per_s, load.frames_per_s, load.busy, load.cpu_percent) for load in loads), strict=True
    )
    return Load(*(sum(column) / len(loads) for column in columns))
