"""The board that this runs on: its names, and how hot, how fast and how well powered it is now."""

import platform
import subprocess
from pathlib import Path

ROOT = Path("/")

COMMAND_S = 5.0
"""A firmware that has not answered in so many seconds does not answer."""

THROTTLE_FLAGS = {
    0: "under-voltage",
    1: "a capped clock",
    2: "throttling",
    3: "the soft temperature limit",
}
"""Bits of `vcgencmd get_throttled` that tell of now; 16 higher, the same since the start of the machine.

Source: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
"""


def processor_name() -> str:
    """Return the board's name where there is one (a Raspberry Pi), else the processor's."""
    return board_name() or chip_name()


def board_name(root: Path = ROOT) -> str | None:
    """Return the name in the device tree; None where there is no such tree, as on a PC."""
    text = _read(root / "proc/device-tree/model")
    return text.rstrip("\0\n") if text else None


def chip_name(root: Path = ROOT) -> str:
    """Return the processor's own name; on ARM, where /proc/cpuinfo has none, that of its cores from `lscpu`."""
    name = _value_of("model name", _read(root / "proc/cpuinfo")) or _value_of("Model name", _output_of("lscpu"))
    return name or platform.processor() or platform.machine()


def governor(root: Path = ROOT) -> str | None:
    """Return what decides on the processor's clock ("ondemand", "performance"); None where nothing does."""
    text = _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return text.strip() if text else None


def temperature_c(root: Path = ROOT) -> float | None:
    """Return the processor's temperature in degrees Celsius; None where the kernel tells none."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    # A laptop has zones for its battery and its case, too.
    zones.sort(key=lambda zone: not any(word in (_read(zone / "type") or "") for word in ("cpu", "x86_pkg", "soc")))
    for zone in zones:
        if (thousandths := _integer(_read(zone / "temp"))) is not None:
            return thousandths / 1000
    return None


def clock_mhz(root: Path = ROOT) -> float | None:
    """Return the processor's clock in MHz: the firmware's word where there is one, else its fastest core's."""
    # The kernel does not know when the firmware throttles.
    hertz = _integer((_output_of("vcgencmd", "measure_clock", "arm") or "").rpartition("=")[2])
    if hertz is not None:
        return hertz / 1e6
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    clocks = [kilohertz / 1000 for file in files if (kilohertz := _integer(_read(file)))]
    if not clocks and (text := _value_of("cpu MHz", _read(root / "proc/cpuinfo"))):
        clocks = [float(text)]
    return max(clocks, default=None)


def throttled_flags(root: Path = ROOT) -> int | None:
    """Return the bits of `vcgencmd get_throttled`, see `THROTTLE_FLAGS`; None where no firmware tells them."""
    # An old firmware answers error=1 error_msg="Command not registered".
    flags = _integer((_output_of("vcgencmd", "get_throttled") or "").partition("throttled=")[2], 16)
    if flags is not None:
        return flags
    # Without the command, or the right to use it; a Pi 5 has an address in the folders' names.
    for file in sorted((root / "sys/devices/platform").glob("soc*/soc*firmware/get_throttled")):
        if (flags := _integer(_read(file), 16)) is not None:
            return flags
    return None


def _output_of(*command: str) -> str | None:
    """Return what a command prints; None where it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _integer(text: str | None, base: int = 10) -> int | None:
    """Return the number that a text is; None if it is none."""
    try:
        return int(text or "", base)
    except ValueError:
        return None


def _value_of(name: str, text: str | None) -> str | None:
    """Return the value of the first line "name: value"."""
    for line in (text or "").splitlines():
        found, _, value = line.partition(":")
        if found.strip() == name:
            return value.strip()
    return None


def _read(file: Path) -> str | None:
    """Return a file of the kernel's; None where it is missing or has nothing to say."""
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return None
