"""Every benchmark in a process of its own, one after the other: what fails or crashes takes nothing else with it."""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.record import RESULTS, read_failures, write_failures
from benchmarks.report import make_report

ROBUSTNESS_IMAGES = 700
"""More would take longer than all else; the 95 % interval of an accuracy is then 3.4 points to either side."""

CROP_IMAGES = 1500
"""More take Haar cascades long: each is searched at five angles."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the parts need."""
    parser.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    parser.add_argument("--source", default="demo", metavar="CLIP", help="a video file (default: demo)")
    parser.add_argument("--photos", metavar="DIR", help="photographs with photos.csv, for the detectors")
    parser.add_argument("--no-faces", metavar="DIR", help="pictures without a face, for their false boxes")
    parser.add_argument("--faces", metavar="DIR", help="labelled photographs, of which those held back are judged")
    parser.add_argument("--clips", metavar="DIR", help="videos of people, for the detectors; judged by YuNet")
    parser.add_argument("--minutes", type=float, default=3, help="of the soak (default: 3)")
    parser.add_argument("--only", nargs="+", metavar="PART", help="some of them; earlier results of others stay")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="default: benchmarks/results")


def main(arguments: argparse.Namespace) -> int:
    """Run the parts, write the report; 1 if any part failed.

    Raises:
        FileNotFoundError: data or clip do not exist.
        ValueError: `--only` names something unknown.
    """
    for flag in ("data", "photos", "no_faces", "faces", "clips"):
        path = getattr(arguments, flag)
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"nothing at --{flag.replace('_', '-')} {path}: give a file or folder that exists")
    if arguments.source != "demo" and not Path(arguments.source).is_file():
        raise FileNotFoundError(f"no clip at --source {arguments.source}: give a video file, or demo")
    parts = plan(arguments)
    if unknown := [part for part in arguments.only or [] if part not in parts]:
        raise ValueError(f"--only {unknown[0]} is no part: allowed are {', '.join(parts)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    failures = read_failures(arguments.out)
    for name, flags in parts.items():
        if arguments.only and name not in arguments.only:
            continue
        failures.pop(name, None)
        if flags is None:
            failures[name] = "no photographs: give --photos DIR"
        elif why := run_part(name, flags, arguments.out / f"{name}.json"):
            failures[name] = why
        write_failures(arguments.out, failures)
    for path in make_report(arguments.out, arguments.out):
        print(path)
    return int(any(flags is not None and name in failures for name, flags in parts.items()))


def plan(arguments: argparse.Namespace) -> dict[str, list[str] | None]:
    """Return the flags of each part, in order; None for one that lacks its input."""
    detection = None
    if arguments.photos:
        detection = ["--photos", arguments.photos]
        for flag in ("no_faces", "faces", "clips"):
            folder = getattr(arguments, flag)
            detection += [f"--{flag.replace('_', '-')}", folder] if folder else []
    return {
        "latency": [],  # first, while the machine is cool
        "pipeline": ["--source", arguments.source],
        "peers": ["--data", arguments.data, "--source", arguments.source],
        "accuracy": ["--data", arguments.data],
        "robustness": ["--data", arguments.data, "--images", str(ROBUSTNESS_IMAGES)],
        "detection": detection,
        "crops": ["--data", arguments.data, "--images", str(CROP_IMAGES)],
        "soak": ["--source", arguments.source, "--minutes", f"{arguments.minutes:g}"],
    }


def run_part(name: str, flags: list[str], path: Path) -> str | None:
    """Run one benchmark; return None, or why it failed, in one line. What it wrote before stays if it failed."""
    command = [sys.executable, "-m", "benchmarks", name, *flags, "--json", str(path)]
    print(f"\n$ python -m benchmarks {shlex.join([name, *flags])}", file=sys.stderr, flush=True)
    started_s, before = time.perf_counter(), _changed(path)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
    last = ""
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            last = line.strip() if line.startswith("error:") or not last.startswith("error:") else last
    print(f"{name}: {time.perf_counter() - started_s:.0f} s", file=sys.stderr)
    if process.returncode == 0:
        return None
    why = f"ended by signal {-process.returncode}" if process.returncode < 0 else last.removeprefix("error: ")
    why = why or f"exit code {process.returncode}"
    return f"{why} (its figures above are older)" if before is not None and _changed(path) == before else why


def _changed(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None
