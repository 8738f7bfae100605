"""Measure: `python -m benchmarks all --data fer2013.csv --source CLIP`, or one of its parts."""

import argparse
import shlex
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.record import measure, write_record
from mien.native_log import prepare_tensorflow

BENCHMARKS = {
    "accuracy": "accuracy on the test images, float and int8, on each installed runtime",
    "latency": "milliseconds a face, by number of threads; loading, memory, operators",
    "pipeline": "what a run costs: frames/s, each stage, latency, memory",
    "robustness": "accuracy under what cameras and detectors do to faces",
    "detection": "faces found on photographs, with and without spectacles, and in clips",
    "crops": "emotions named from found faces, beside FER2013's own cut, upright and leaning",
    "peers": "mien beside what else one could take: the package fer, the loops of tutorials",
    "board": "one or two minutes on a board: a block for docs/devices.md; --expected: what each Raspberry Pi should do",
    "soak": "minutes of a looping clip: does memory grow, does it slow down, does the board throttle?",
    "fleet": "many devices on one MQTT broker that is restarted: is anything lost, how late does it come?",
    "pareto": "accuracy against latency; without --runs redrawn from the results",
    "crop-margin": "how FER2013's faces are cut, seen by a Haar cascade",
}
"""Each is a module with `add_arguments`, `run`, `table` and, where there is something to draw, `plots`."""

TOOLS = {
    "all": "the parts above one after the other, and their report",
    "report": "one HTML and one Markdown file of results, with plots",
    "compare": "what got better or worse between two results, beyond noise",
    "readme": "write the tables of README.md anew from benchmarks/results",
}
"""Each is a module with `add_arguments` and `main(arguments) -> exit code`."""


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; only the chosen command has its flags, so that the others' modules need not be imported."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure mien on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="BENCHMARK")
    for name, about in (BENCHMARKS | TOOLS).items():
        command = commands.add_parser(name, help=about, description=about)
        if name != chosen:
            continue
        module = import_module(f"benchmarks.{name.replace('-', '_')}")
        module.add_arguments(command)
        if name in BENCHMARKS:
            command.add_argument("--json", type=Path, metavar="FILE", help="write the results for programs, too")
        command.set_defaults(module=module)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one benchmark or tool; return the exit code."""
    prepare_tensorflow()
    argv = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in argv if word in BENCHMARKS | TOOLS), None)
    try:
        arguments = build_parser(chosen).parse_args(argv)
        if arguments.command in TOOLS:
            return int(arguments.module.main(arguments))
        return _benchmark(arguments, shlex.join(["python", "-m", "benchmarks", *argv]))
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _benchmark(arguments: argparse.Namespace, command: str) -> int:
    """Measure, print for people and write for programs; 1 if a part of it failed or the machine spoilt it."""
    if (path := arguments.json) and not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; make it first")
    record = measure(arguments.command, command, arguments.module.run, arguments)
    if path:
        write_record(path, record)
    from benchmarks.machine import describe

    print(describe(record["machine"]), end="\n\n")
    print(arguments.module.table(record["results"]))
    failed = [f"{part['model']}: {part['why']}" for part in record["results"].get("failed", [])]
    for why in [f"invalid: {reason}" for reason in record["invalid"]] + failed:
        print(f"error: {why}", file=sys.stderr)
    return int(bool(record["invalid"] or failed))


if __name__ == "__main__":
    sys.exit(main())
