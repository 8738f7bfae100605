"""The machine's card: a figure of speed means nothing without it."""

import os
import platform
from importlib import metadata
from pathlib import Path

from mien.device import processor_name

PACKAGES = ("numpy", "ai-edge-litert", "tflite-runtime", "opencv-python", "opencv-python-headless")


def machine_card() -> dict[str, str]:
    """Return processor, cores, memory, system and versions as text."""
    return {
        "processor": processor_name(),
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES if _is_installed(package)},
    }


def describe(card: dict[str, str]) -> str:
    """Return the card as one line."""
    return ", ".join(f"{name} {value}" for name, value in card.items())


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _memory() -> str:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return f"{int(line.split()[1]) / 2**20:.1f} GiB"
    return "unknown"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
