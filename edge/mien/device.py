"""The board that this runs on."""

import platform
from pathlib import Path


def processor_name() -> str:
    """Return the board's name where there is one (a Raspberry Pi), else the processor's."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text().rstrip("\0\n")
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
