"""The command line of `python -m train finder`."""

import argparse
import shlex
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.native_log import quiet_native_log

if TYPE_CHECKING:
    from train.finder.training import FinderConfig

DESCRIPTION = """Train the face finder on labelled photographs, and write model.keras, history.csv and report.md into
--out. Ctrl-C loses at most the epoch in hand, --resume goes on."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; settings that are not given are absent."""
    from train.finder.training import FinderConfig

    parser = argparse.ArgumentParser(
        prog="python -m train finder", description=DESCRIPTION, argument_default=argparse.SUPPRESS
    )
    parser.add_argument("--data", required=True, type=Path, help="folder with faces.csv, negatives.csv and images")
    parser.add_argument("--out", type=Path, default=Path("runs/finder"), help="folder for the run (runs/finder)")
    parser.add_argument("--resume", action="store_true", default=False, help="continue the run in --out")
    parser.add_argument("--start", type=Path, default=None, metavar="FILE", help="a .keras file to start from")
    settings = parser.add_argument_group("settings")
    for item in fields(FinderConfig):
        assert item.default is not MISSING
        flag, text = f"--{item.name.replace('_', '-')}", f"{item.metadata['help']} (default: {item.default})"
        settings.add_argument(flag, type=type(item.default), help=text, metavar="N")
    return parser


def main(words: list[str]) -> int:
    """Train; return the exit code. What is raised, `train.__main__` reports."""
    with quiet_native_log():
        import keras

        from train.finder.report import write_report
        from train.finder.training import FinderConfig, train_finder
    arguments: dict[str, Any] = vars(build_parser().parse_args(words))
    from mien.photographs import hash_photographs, read_photographs

    config = FinderConfig(
        **{item.name: arguments[item.name] for item in fields(FinderConfig) if item.name in arguments}
    )
    data, start = arguments["data"], arguments["start"]
    training, validation = (read_photographs(data, part) for part in ("training", "validation"))
    facts = {"data_sha256": hash_photographs(data), "start": start and str(start), "backend": keras.backend.backend()}
    faces = sum(len(photograph.boxes) for photograph in training)
    print(f"{faces:,} faces on {len(training):,} photographs to learn from, {len(validation):,} to validate on")
    model = train_finder(training, validation, config, arguments["out"], facts, arguments["resume"], start)
    print(write_report(model, training, read_photographs(data, "test"), config, command_of(config, start)))
    return 0


def command_of(config: "FinderConfig", start: Path | None) -> str:
    """Return the command that repeats a run, with PATH for the data."""
    words = ["python", "-m", "train", "finder", "--data", "PATH"]
    for item in fields(config):
        if (value := getattr(config, item.name)) != item.default:
            words += [f"--{item.name.replace('_', '-')}", str(value)]
    return shlex.join([*words, *(["--start", str(start)] if start else [])])


def out_of(words: list[str]) -> Path:
    """Return the run's folder that a command line names."""
    out: Path = build_parser().parse_args(words).out
    return out
