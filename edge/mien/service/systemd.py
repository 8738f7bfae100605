"""What mien asks of systemd, through its commands; another init, or a container, is one clear line."""

import json
import shlex
import subprocess
from pathlib import Path

from mien.device import ROOT

COMMAND_S = 240.0
"""For systemd to start a service: twice the most that our unit allows."""


def check_systemd(root: Path = ROOT) -> None:
    """Raise OSError where systemd is not what runs the machine, as sd_booted(3) finds out."""
    if not (root / "run/systemd/system").is_dir():
        raise OSError(
            "no systemd runs here, as in a container: let what starts things here start `mien run`, "
            "and again when it ends"
        )


def systemctl(*arguments: str) -> str:
    """Return what systemctl prints.

    Raises:
        OSError: it is missing, fails or hangs.
    """
    command = ["systemctl", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"`{shlex.join(command)}` did not finish within {COMMAND_S:g} s") from error
    except FileNotFoundError as error:
        raise OSError("systemctl is missing: sudo apt install systemd") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise OSError(f"`{shlex.join(command)}` failed: {lines[0]}")
    return done.stdout


def last_line(unit: str) -> str:
    """Return the newest line of the unit's own log; "" where there is none to be read."""
    command = ["journalctl", f"--unit={unit}", "--lines=20", "--output=json", "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    entries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    own = [str(entry.get("MESSAGE", "")) for entry in entries if entry.get("SYSLOG_IDENTIFIER") != "systemd"]
    return own[-1] if own else ""
