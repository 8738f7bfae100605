"""Tells systemd how a run is doing, so that one that hangs is started anew.

A hung camera driver leaves a process that is alive and sees nothing. The service manager restarts a process that does
not ping it in time (`WatchdogSec=` in the unit), and mien pings only for frames that got their result. Where no service
manager asks (`NOTIFY_SOCKET` is not set), nothing of this happens.
"""

import faulthandler
import logging
import os
import socket
import time

from mien.health import Health

logger = logging.getLogger(__name__)

PING_S = 1.0
"""So often at most; what systemd waits for is counted in tens of seconds."""

STATUS_S = 10.0
"""The line for `systemctl status` is told so often, and when the state changes."""

SEND_S = 1.0
"""A service manager that takes no message for so long misses it."""


class Watchdog:
    """Pings while frames get results and outputs take them. Not for several threads.

    Args:
        health: of the run.
        address: of the service manager's socket; None: `NOTIFY_SOCKET`.
    """

    def __init__(self, health: Health, address: str | None = None) -> None:
        self._health = health
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._is_ready, self._recognized, self._written = False, 0, 0
        self._outputs: dict[str, tuple[int, int]] = {}  # what each had written and dropped at the last look
        self._looked_s = self._told_s = -float("inf")
        self._told, self._is_unheard = "", False
        if self._address:
            faulthandler.enable()  # at its end, systemd sends SIGABRT: the log then tells where every thread hung

    def look(self) -> None:
        """Look at the run, and tell what there is to tell; to be called about once a second."""
        now_s = time.monotonic()
        if not self._address or now_s - self._looked_s < PING_S:
            return
        self._looked_s = now_s
        lines = []
        if self._has_advanced():
            lines += ["WATCHDOG=1"] if self._is_ready else ["READY=1", "WATCHDOG=1"]
            self._is_ready = True
        state = self._health.state + self._health.problem + self._health.slowed
        if state != self._told or now_s - self._told_s >= STATUS_S:
            self._told, self._told_s = state, now_s
            lines.append(f"STATUS={describe(self._health)}")
        if lines:
            self._tell(lines)

    def stop(self) -> None:
        """Tell that the run ends; what comes next is the end of the process."""
        if not self._address:
            return
        if self._health.recognized and not self._is_ready:  # so short a run was none that failed to start
            self._tell(["READY=1"])
        self._tell(["STOPPING=1", "STATUS=stopping"])

    def _tell(self, lines: list[str]) -> None:
        try:
            notify(self._address, lines)
        except OSError as error:  # no reason to stop
            if not self._is_unheard:
                logger.warning("the service manager at %s cannot be told how it goes: %s", self._address, error)
            self._is_unheard = True

    def _has_advanced(self) -> bool:
        """Whether there were results since the last time, none of which got stuck in an output.

        At the end of a file its outputs may have much left to write: then that alone counts.
        """
        recognized, outputs = self._health.recognized, list(self._health.outputs.items())
        written = sum(output.written for _, output in outputs)
        is_stuck = False
        for name, output in outputs:
            was_written, was_dropped = self._outputs.get(name, (0, 0))
            is_stuck |= not output.error and output.written == was_written and output.dropped > was_dropped
            self._outputs[name] = (output.written, output.dropped)
        has_advanced = recognized > self._recognized and not is_stuck
        if self._health.state == "stopped":
            has_advanced = written > self._written
        self._recognized, self._written = recognized, written
        return has_advanced


def describe(health: Health) -> str:
    """Return one line on how a run is doing, without line breaks."""
    if health.state == "running":
        parts = [f"{health.frames_per_s:.1f} frames/s, {1000 * health.latency_s:.0f} ms from frame to result"]
    else:
        parts = [f"{health.state} ({health.problem})" if health.problem else health.state]
    if health.slowed:
        parts.append(f"slowed: {health.slowed}")
    parts += [f"output {name} ended: {output.error}" for name, output in list(health.outputs.items()) if output.error]
    return "; ".join(parts).replace("\n", " ")


def notify(address: str, lines: list[str]) -> None:
    """Send a message to the service manager.

    Source of the protocol: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

    Args:
        address: a path, or @NAME in Linux' abstract namespace.
        lines: such as READY=1.

    Raises:
        OSError: nobody listens there, or takes nothing for a second.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(SEND_S)
        sender.sendto("\n".join(lines).encode(), "\0" + address[1:] if address.startswith("@") else address)
