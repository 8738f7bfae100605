"""The machine's card, and its condition: a figure of speed means nothing without them."""

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

from mien import device

PACKAGES = ("ai-edge-litert", "tflite-runtime", "numpy", "opencv-python", "opencv-python-headless")

SINCE_START = 16
"""So many bits above those of now are those of what has been since the machine's start."""

Condition = dict[str, float | int | str | None]


def machine_card(root: Path = device.ROOT) -> dict[str, str]:
    """Return what does not change in a run: board, processor, cores, memory, governor, system, versions, as text.

    What there is not (a board on a PC, a governor in a virtual machine, git) is left out.
    """
    facts = {
        "board": device.board_name(root),
        "processor": device.chip_name(root),
        "cores": str(os.cpu_count()),
        "memory": _memory(root),
        "governor": device.governor(root),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "git": _revision(),
    }
    return {name: value for name, value in facts.items() if value is not None}


def condition(root: Path = device.ROOT) -> Condition:
    """Return how the machine is now; None for what it does not tell.

    Returns:
        {"temperature_c", "clock_mhz", "throttled": the firmware's bits, as "0x50005", "load_1min": processes that
        ran or waited for a processor, the mean of the last minute}.
    """
    temperature_c, clock_mhz, flags = device.temperature_c(root), device.clock_mhz(root), device.throttled_flags(root)
    return {
        "temperature_c": None if temperature_c is None else round(temperature_c, 1),
        "clock_mhz": None if clock_mhz is None else round(clock_mhz),
        "throttled": None if flags is None else hex(flags),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def invalid_reasons(before: Condition, after: Condition) -> list[str]:
    """Return why a run between two conditions does not count: one line for each fault of power or heat.

    What had been before the run, and has not come again, does it no harm.
    """
    bits_before, bits_after = _bits(before), _bits(after)
    reasons = []
    for bit, fault in device.THROTTLE_FLAGS.items():
        now, since_start = 1 << bit, 1 << bit + SINCE_START
        if bits_before & now:
            reasons.append(f"the run began with {fault} (throttled {before['throttled']})")
        elif bits_after & now:
            reasons.append(f"the run ended with {fault} (throttled {after['throttled']})")
        elif bits_after & ~bits_before & since_start:
            reasons.append(f"there was {fault} during the run (throttled {after['throttled']})")
    return reasons


def other_cpu_s(statistics: str = "/proc/stat") -> float | None:
    """Return the CPU seconds that all but this process have taken since the machine's start; None without /proc.

    What a hypervisor gave to other machines counts, too. Only differences mean something.
    """
    path = Path(statistics)
    if not path.exists():
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already. See proc_stat(5).
    ticks = [int(word) for word in path.read_text().split("\n", 1)[0].split()[1:9]]
    busy = sum(ticks) - ticks[3] - ticks[4]
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()


def describe(card: dict[str, str]) -> str:
    """Return the card as one line."""
    return ", ".join(f"{name} {value}" for name, value in card.items())


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


def _bits(condition_: Condition) -> int:
    return int(str(condition_.get("throttled") or "0"), 16)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Return the commit of this checkout, "+changes" behind it if tracked files differ; None without git."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+changes"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _memory(root: Path) -> str | None:
    file = root / "proc/meminfo"
    for line in file.read_text().splitlines() if file.exists() else []:
        if line.startswith("MemTotal"):
            return f"{int(line.split()[1]) / 2**20:.1f} GiB"
    return None
