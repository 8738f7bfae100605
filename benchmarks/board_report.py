"""The block of `python -m benchmarks board`, from its results alone: what docs/devices.md shows of a board."""

from collections.abc import Iterator
from typing import Any

from benchmarks.expectation import expected_table
from benchmarks.machine import invalid_reasons


def table(results: dict[str, Any]) -> str:
    """Return the block for docs/devices.md; of `--expected`, its table."""
    if "expected" in results:
        return expected_table(results)
    machine = results["machine"]
    lines = [f"### {machine.get('board', machine['processor'])}, {results['date']}", ""]
    lines += [f"**Invalid:** {reason}." for reason in invalid_reasons(results["before"], results["after"])]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in _facts(results))]
    lines += ["", "| one thing | threads | median ms | p95 |", "|---|---|---|---|"]
    for row in results["classify"] + results["search"]:
        lines.append(f"| {row['what']} | {row['threads']} | {row['median_ms']:.2f} | {row['p95_ms']:.2f} |")
    lines += ["", *_run_lines(results), "", *_closing_lines(results)]
    return "\n".join(lines)


def _facts(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    machine, before, after = results["machine"], results["before"], results["after"]
    for name in ("board", "processor", "cores", "memory"):
        yield name, machine.get(name, "not told")
    yield "system", f"{results['os']}, {machine['system']}"
    yield "Python, numpy", f"{machine['python']}, {machine.get('numpy', 'not told')}"
    opencv = [machine[name] for name in ("opencv-python", "opencv-python-headless") if name in machine]
    yield "OpenCV", opencv[0] if opencv else "not told"
    yield "runtime", f"{machine['runtime']} {machine.get(machine['runtime'], '')}".strip()
    yield "mien", machine.get("git", "not told")
    yield "governor", machine.get("governor", "not told")
    for name, key in (
        ("°C before / after", "temperature_c"),
        ("MHz before / after", "clock_mhz"),
        ("throttled before / after", "throttled"),
    ):
        yield name, " / ".join("not told" if state[key] is None else str(state[key]) for state in (before, after))


def _run_lines(results: dict[str, Any]) -> list[str]:
    lines = [
        f"mien on {results['clip']}, {results['size']}, {results['frames']} frames:",
        "",
        "| threads | frames/s as a file | live: frames/s | dropped | frame to result, median ms | p95 "
        "| CPU, % of a core | memory with the decoded clip, MB |",
        "|---" * 8 + "|",
    ]
    for run_ in results["runs"]:
        live, memory = run_["live"], run_["memory"]
        cells = [run_["threads"], f"{memory['frames_per_s']:.1f}", f"{live['frames_per_s']:.1f}", live["dropped"]]
        cells += [f"{live['latency'][key]:.1f}" for key in ("median_ms", "p95_ms")]
        cells += [f"{live['cpu']:.0%}", f"{max(memory['samples_mb']):.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _closing_lines(results: dict[str, Any]) -> list[str]:
    work, process = results["work"], results["process"]
    return [
        f"- finding faces, one thread, {work['madds_a_frame']:.1f} M multiply-adds a frame: "
        f"expected {work['expected_ms']:.1f} ms at {work['gmadds_a_s']:.1f} G a second, measured "
        f"{work['measured_ms']:.1f} ms",
        f"- `mien run`: first line after {process['first_line_s']:.2f} s, {process['peak_mb']:.0f} MB at most",
    ]
