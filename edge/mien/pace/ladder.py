"""A level that does not swing to and fro: it rises at once, falls slowly, and learns from a fall that failed."""

import math


class Ladder:
    """A level that rises at once and falls slowly, and the slower the more often a fall had to be taken back.

    Args:
        most: the highest level.
        pause_s: between two steps up at least.
        calm_s: for so long there must be room before a step down.
        probation_s: a step down that is taken back in this time has failed, and doubles the calm.
        longest_calm_s: the most that it is doubled to; a step up at another time makes it the usual one again.

    Attributes:
        level: 0: as configured; the higher, the slower.
    """

    def __init__(self, most: int, pause_s: float, calm_s: float, probation_s: float, longest_calm_s: float) -> None:
        self.level, self.most = 0, most
        self._pause_s, self._probation_s = pause_s, probation_s
        self._shortest_calm_s = self._calm_s = calm_s
        self._longest_calm_s = longest_calm_s
        self._raised_s = self._lowered_s = -math.inf
        self._calm_since_s: float | None = None

    def slow_down(self, now_s: float, steps: int = 1) -> bool:
        """Go up, unless that was just done; return whether the level is another."""
        self._calm_since_s = None
        if self.level == self.most or now_s - self._raised_s < self._pause_s:
            return False
        has_failed = now_s - self._lowered_s < self._probation_s
        self._calm_s = min(2 * self._calm_s, self._longest_calm_s) if has_failed else self._shortest_calm_s
        self._lowered_s = -math.inf  # it has failed once, however many steps are taken now
        self.level, self._raised_s = min(self.level + steps, self.most), now_s
        return True

    def hold(self) -> None:
        """Stay: there is neither too much nor room."""
        self._calm_since_s = None

    def recover(self, now_s: float) -> bool:
        """Go down, if there has been room for long enough; return whether the level is another."""
        if self._calm_since_s is None:
            self._calm_since_s = now_s
        if not self.level or now_s - self._calm_since_s < self._calm_s:
            return False
        self.level, self._lowered_s, self._calm_since_s = self.level - 1, now_s, now_s
        return True
