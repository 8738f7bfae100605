"""The machine: Python, system, disk, memory, heat, power."""

import platform
import shlex
import shutil
import struct
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from mien import device
from mien.device import ROOT, THROTTLE_FLAGS
from mien.doctor import problems
from mien.doctor.check import OK, Check
from mien.files import data_dir
from mien.pace.controller import HOT_C

PYTHONS = ((3, 11), (3, 13))
"""The oldest and the newest that mien is made for."""

DISK_LOW_MB, DISK_FULL_MB = 500, 50
MEMORY_LOW_MB, MEMORY_FULL_MB = 200, 120
"""A run takes about 120 MB (README.md, "Results")."""

TOO_HOT_C = 85.0
"""Here a Raspberry Pi's firmware slows it as far as it can."""

DYNAMIC_DRIVERS = ("intel_pstate", "amd-pstate", "amd-pstate-epp")
"""Whose governor "powersave" is the usual one, and raises the clock when there is work."""


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Check]:
    """Look at the version of Python."""
    text = ".".join(map(str, version))
    if not PYTHONS[0] <= version[:2] <= PYTHONS[1]:
        yield problems.PYTHON_UNTRIED.about("Python", version=text)
    else:
        where = "a virtual environment" if sys.prefix != sys.base_prefix else "the system's"
        yield Check("Python", OK, f"{text}, {where}: {sys.prefix}")


def check_system(
    root: Path = ROOT,
    machine: str = platform.machine(),
    bits: int = 8 * struct.calcsize("P"),
    version: tuple[int, ...] = sys.version_info[:2],
) -> Iterator[Check]:
    """Look at the operating system, and at whether a TFLite runtime can exist for it.

    Args:
        root: where the system's files are.
        machine: the kernel's name of the processor; a 64-bit kernel may have 32-bit programs.
        bits: of Python.
        version: of Python.
    """
    python = ".".join(map(str, version))
    if machine == "armv6l":
        yield problems.PROCESSOR_OLD.about("system", machine=machine)
    elif bits == 32 and version > (3, 11):
        yield problems.PYTHON_32_BIT.about("system", version=python, machine=machine)
    else:
        name = f"{_system_name(root)}, {bits} bits, {machine}"
        board = device.board_name(root) or device.chip_name(root)
        yield Check("system", OK, f"{name}; {board}")


def check_disk(files: list[Path]) -> Iterator[Check]:
    """Look at the free space where these files go, or else where mien keeps its own; each disk once."""
    folders = [_existing(file.parent) for file in files] or [_existing(data_dir())]
    for folder in {folder.stat().st_dev: folder for folder in folders}.values():
        megabytes = shutil.disk_usage(folder).free // 1_000_000
        if megabytes < DISK_FULL_MB:
            yield problems.DISK_FULL.about("disk", megabytes=megabytes, folder=folder)
        elif megabytes < DISK_LOW_MB:
            yield problems.DISK_LOW.about("disk", megabytes=megabytes, folder=folder)
        else:
            yield Check("disk", OK, f"{megabytes / 1000:.1f} GB free in {folder}")


def check_memory(root: Path = ROOT) -> Iterator[Check]:
    """Look at the free memory; swap counts only against the worst."""
    megabytes = _memory_mb(root)
    available_mb = megabytes.get("MemAvailable")
    if available_mb is None:
        yield Check("memory", OK, "the system does not tell")
    elif (with_swap_mb := available_mb + megabytes.get("SwapFree", 0)) < MEMORY_FULL_MB:
        yield problems.MEMORY_FULL.about("memory", megabytes=with_swap_mb)
    elif available_mb < MEMORY_LOW_MB:
        yield problems.MEMORY_LOW.about("memory", megabytes=available_mb)
    else:
        total_mb = megabytes.get("MemTotal", 0)
        yield Check("memory", OK, f"{available_mb / 1000:.1f} GB of {total_mb / 1000:.1f} GB free")


def check_temperature(root: Path = ROOT) -> Iterator[Check]:
    """Look at the processor's temperature, whose limits are known of a Raspberry Pi alone."""
    celsius = device.temperature_c(root)
    if celsius is None:
        yield Check("temperature", OK, "the system does not tell")
    elif not _is_raspberry_pi(root):
        yield Check("temperature", OK, f"{celsius:.0f} °C")
    elif celsius >= TOO_HOT_C:
        yield problems.TOO_HOT.about("temperature", degrees=f"{celsius:.0f}")
    elif celsius >= HOT_C:
        yield problems.HOT.about("temperature", degrees=f"{celsius:.0f}", limit=f"{HOT_C:.0f}")
    else:
        yield Check("temperature", OK, f"{celsius:.0f} °C")


def check_power(root: Path = ROOT) -> Iterator[Check]:
    """Look at what a Raspberry Pi's firmware says of power and heat, now and since it was started."""
    flags = device.throttled_flags(root)
    if flags is None and _is_raspberry_pi(root):
        yield problems.FLAGS_CLOSED.about("power")
    elif flags is None:
        yield Check("power", OK, "only a Raspberry Pi tells")
    elif not flags:
        yield Check("power", OK, "no under-voltage and no throttling since the start")
    else:
        problem = problems.THROTTLED
        if flags & 1 << 16 or flags & 1:
            problem = problems.UNDER_VOLTAGE if flags & 1 else problems.UNDER_VOLTAGE_PAST
        yield problem.about("power", flags=_describe_flags(flags))


def check_governor(root: Path = ROOT) -> Iterator[Check]:
    """Look at what decides on the processor's clock."""
    governor = device.governor(root)
    driver = root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"
    is_dynamic = driver.exists() and driver.read_text().strip() in DYNAMIC_DRIVERS
    if governor == "powersave" and not is_dynamic:
        yield problems.GOVERNOR_SAVES.about("governor", governor=governor)
    else:
        yield Check("governor", OK, governor or "none: the clock is not ours to set")


def other_run(root: Path = ROOT) -> int | None:
    """Return the process of another `mien run`, such as the service's; None if there is none."""
    for file in sorted(root.glob("proc/[0-9]*/cmdline")):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended, or is closed to us
            continue
        if any(Path(first).name == "mien" and second == "run" for first, second in pairwise(words)):
            return int(file.parent.name)
    return None


def _is_raspberry_pi(root: Path) -> bool:
    return "Raspberry Pi" in (device.board_name(root) or "")


def _system_name(root: Path) -> str:
    try:
        lines = (root / "etc/os-release").read_text().splitlines()
    except OSError:
        return f"{platform.system()} {platform.release()}"
    names = dict(line.split("=", 1) for line in lines if "=" in line)
    return "".join(shlex.split(names.get("PRETTY_NAME", "")) or [platform.system()])


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())


def _memory_mb(root: Path) -> dict[str, int]:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    words = [line.replace(":", " ").split() for line in lines]
    return {name: int(kilobytes) // 1000 for name, kilobytes, *_ in words}


def _describe_flags(flags: int) -> str:
    """Return "now under-voltage; earlier throttling"."""
    now = [text for bit, text in THROTTLE_FLAGS.items() if flags & 1 << bit]
    earlier = [text for bit, text in THROTTLE_FLAGS.items() if flags & 1 << bit + 16]
    texts = [f"{when} {', '.join(names)}" for when, names in (("now", now), ("since the start", earlier)) if names]
    return "; ".join(texts)
