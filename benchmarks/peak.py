"""How many multiply-adds this processor could do at best: the measure for what a model achieves on it.

peak = multiply-adds per cycle and core x clock x cores used. Multiply-adds per cycle = values in a vector register x
vector units that can multiply: the formula of the "roofline" (Williams et al. 2009, doi:10.1145/1498765.1498785).
What is not known is said, and not guessed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARITHMETICS = ("int8", "float32")
MANUAL = "Intel 64 and IA-32 Architectures Optimization Reference Manual"
ZEN_4_FAMILY = "25"
NAMED_LEVELS = 2
"""So many instruction sets are told of, since not every runtime uses the fastest."""


@dataclass(frozen=True)
class Level:
    """An instruction set, and what one core does with it in a cycle.

    Attributes:
        arithmetic: one of `ARITHMETICS`.
        flags: of /proc/cpuinfo, all of which it needs.
        multiply_adds: per cycle and core.
        why: where the number comes from.
    """

    arithmetic: str
    name: str
    flags: tuple[str, ...]
    multiply_adds: int
    why: str


X86_LEVELS = (
    Level("int8", "AMX", ("amx_int8",), 1024, f"a tile instruction does 16 x 16 x 64 in 16 cycles ({MANUAL})"),
    Level("int8", "AVX-512 VNNI", ("avx512_vnni",), 128, f"VPDPBUSD does 64, two units ({MANUAL})"),
    Level("int8", "AVX-VNNI", ("avx_vnni",), 64, f"VPDPBUSD does 32, two units ({MANUAL})"),
    Level("int8", "AVX-512", ("avx512bw",), 64, "VPMADDWD does 32 in int16, two units (uops.info)"),
    Level("int8", "AVX2", ("avx2",), 32, "VPMADDWD does 16 in int16, two units (uops.info)"),
    Level("int8", "SSE2", ("sse2",), 16, "PMADDWD does 8 in int16, two units (uops.info)"),
    Level("float32", "AVX-512", ("avx512f",), 32, f"a fused multiply-add does 16, two units ({MANUAL})"),
    Level("float32", "AVX2 with FMA", ("avx2", "fma"), 16, "a fused multiply-add does 8, two units (uops.info)"),
    Level("float32", "AVX", ("avx",), 8, "8 products and 8 sums at once (uops.info)"),
    Level("float32", "SSE2", ("sse2",), 4, "4 products and 4 sums at once (uops.info)"),
)
"""The highest number that a processor with these flags is known to reach, the fastest instruction set first."""

ARM_GUIDES = "Arm's Software Optimization Guide of the core, LLVM's scheduling model"
ARM_CORES = {
    "0xd03": ("Cortex-A53", 4, 8, 0),
    "0xd05": ("Cortex-A55", 4, 8, 16),
    "0xd08": ("Cortex-A72", 4, 8, 0),
    "0xd0b": ("Cortex-A76", 8, 8, 32),
    "0xd0c": ("Neoverse N1", 8, 8, 32),
}
"""CPU part -> name, multiply-adds per cycle: float32 (FMLA), int8 (SMLAL), int8 with dot products (SDOT; 0: none).

A53, A55, A72: one 128-bit FMLA a cycle; A76, N1: two. All: one SMLAL. A55: one SDOT, A76, N1: two.
"""


def find_peak(root: Path = Path("/")) -> dict[str, Any]:
    """Return what the processor could reach.

    Args:
        root: where /proc and /sys lie.

    Returns:
        {"instructions": name or None and "multiply_adds_per_cycle": number or None, both by `ARITHMETICS`;
        "clock_mhz", "clock_source", "cores", "gmacs_per_s_a_core" by `ARITHMETICS`, None where unknown;
        "is_upper_bound": whether the clock is the highest that the processor can have, "reasoning": lines}.
    """
    information = _read(root / "proc/cpuinfo")
    levels, reasoning = _levels(information)
    clock_mhz, clock_source, is_highest = _clock(root, information)
    cores = _cores(root, information)
    best = {name: next((level for level in levels if level.arithmetic == name), None) for name in ARITHMETICS}
    a_core = {
        name: round(level.multiply_adds * clock_mhz / 1000, 2) if level and clock_mhz else None
        for name, level in best.items()
    }
    reasoning += [f"Clock: {clock_source}.", f"Cores: {cores}; more threads than cores do not raise the peak."]
    for name, level in best.items():
        if level and clock_mhz:
            reasoning.append(
                f"Peak for {name}: {level.multiply_adds} per cycle ({level.name}) x {clock_mhz / 1000:g} GHz = "
                f"{a_core[name]:g} G multiply-adds/s a core, if every cycle did nothing else."
            )
    return {
        "instructions": {name: level.name if level else None for name, level in best.items()},
        "multiply_adds_per_cycle": {name: level.multiply_adds if level else None for name, level in best.items()},
        "clock_mhz": clock_mhz,
        "clock_source": clock_source,
        "cores": cores,
        "gmacs_per_s_a_core": a_core,
        "is_upper_bound": is_highest and all(best.values()),
        "reasoning": reasoning,
    }


def peak_share(peak: dict[str, Any], arithmetic: str, threads: int, gmacs_per_s: float) -> float | None:
    """Return the share of the peak of as many cores as there are threads; None where the peak is unknown."""
    a_core = peak["gmacs_per_s_a_core"][arithmetic]
    return round(gmacs_per_s / (a_core * min(threads, peak["cores"])), 4) if a_core else None


def _levels(information: str) -> tuple[list[Level], list[str]]:
    """Return the instruction sets that the processor has, the fastest first, and lines about them."""
    flags = set(_value(information, "flags", "Features").split())
    parts = {line.split(":")[1].strip() for line in information.splitlines() if line.startswith("CPU part")}
    levels, reasoning = _arm_levels(parts, flags) if parts else ([], [])
    if not parts:
        levels = [level for level in X86_LEVELS if set(level.flags) <= flags]
    if _value(information, "vendor_id") == "AuthenticAMD" and _value(information, "cpu family") == ZEN_4_FAMILY:
        levels = [_halved(level) for level in levels]
    levels.sort(key=lambda level: -level.multiply_adds)
    for name in ARITHMETICS:
        for level in [level for level in levels if level.arithmetic == name][:NAMED_LEVELS]:
            reasoning.append(
                f"{name}, {level.name}: {level.multiply_adds} multiply-adds per cycle and core; {level.why}."
            )
    if not levels:
        reasoning.append("The instruction set is unknown: no share of a peak can be told.")
    return levels, reasoning


def _halved(level: Level) -> Level:
    """Return what Zen 3 and 4 do: their units are 256 bits wide, so that AVX-512 takes two of them."""
    if not level.flags[0].startswith("avx512"):
        return level
    why = f"{level.why}, halved: Zen 4's are 256 bits wide (uops.info)"
    return Level(level.arithmetic, level.name, level.flags, level.multiply_adds // 2, why)


def _arm_levels(parts: set[str], flags: set[str]) -> tuple[list[Level], list[str]]:
    levels, reasoning = [], []
    for part in sorted(parts):
        if part not in ARM_CORES:
            reasoning.append(f"The core with the part number {part} is not in our table: no peak can be told.")
            return [], reasoning
        name, float32, int8, dot = ARM_CORES[part]
        levels.append(Level("float32", f"NEON FMLA of {name}", (), float32, ARM_GUIDES))
        levels.append(Level("int8", f"NEON SMLAL of {name}", (), int8, ARM_GUIDES))
        if dot and "asimddp" in flags:
            levels.append(Level("int8", f"SDOT of {name}", ("asimddp",), dot, ARM_GUIDES))
    if len(parts) > 1:
        reasoning.append("There are several kinds of cores: all count as the fastest.")
    return levels, reasoning


def _clock(root: Path, information: str) -> tuple[float | None, str, bool]:
    """Return (MHz or None, where it comes from, whether the processor can have no higher one)."""
    files = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq"))
    if highest_khz := max((int(_read(file) or 0) for file in files), default=0):
        clock_mhz = highest_khz / 1000
        return clock_mhz, f"{clock_mhz:.0f} MHz, the highest that cpufreq allows", True
    values = [line.split(":")[1] for line in information.splitlines() if line.startswith("cpu MHz")]
    if values:
        clock_mhz = max(float(value) for value in values)
        warning = "if the processor runs faster (turbo), the true peak is higher and its share lower"
        return clock_mhz, f"{clock_mhz:.0f} MHz by /proc/cpuinfo, since cpufreq says nothing: {warning}", False
    return None, "unknown, neither cpufreq nor /proc/cpuinfo has it: no share of a peak can be told", False


def _cores(root: Path, information: str) -> int:
    """Return the number of cores; two hardware threads of one core count once."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    return len({_read(file) for file in files}) or max(1, information.count("processor\t:"))


def _value(information: str, *names: str) -> str:
    for line in information.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
