"""The command `mien`: `mien run --source camera --output jsonl`."""

import argparse
import difflib
import logging
import os
import sys

from mien import __version__
from mien.commands import calibrate, config, doctor, image, models, run, service, video
from mien.config import all_settings, flag_of, variable_of

COMMANDS = (run, image, video, calibrate, config, doctor, service, models)
"""In the order of help."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="mien", description="Recognise facial emotions in real time.")
    parser.add_argument("--version", action="version", version=f"mien {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code: 0, 1 for a failure, 2 for wrong usage."""
    # FFmpeg and OpenCV complain of a bad file in their own words, beside our one line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
    _set_up_logging()
    arguments, unknown = build_parser().parse_known_args(argv)
    try:
        if unknown:
            _refuse(unknown, arguments.parser)
        return int(arguments.function(arguments))
    except BrokenPipeError:
        # The reader has seen enough (`mien run ... | head`); keep Python from complaining on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed: pip install 'mien[edge]' brings all that is needed", file=sys.stderr
        )
        return 1
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def _refuse(unknown: list[str], parser: argparse.ArgumentParser) -> None:
    """Raise ValueError for what the parser of a command does not know, with the flag that comes nearest."""
    flag = next((text.partition("=")[0] for text in unknown if text.startswith("-")), None)
    if flag is None:
        hint = f"`{parser.prog} --help` tells how to say it"
        if "--source" in parser._option_string_actions:
            hint = f"--source {unknown[0]} if you mean a source"
        raise ValueError(f"unknown argument {unknown[0]!r}: {hint}")
    for name, entry, _ in all_settings():
        if entry.metadata["is_secret"] and flag == flag_of(name):
            raise ValueError(f"{flag} is a secret, which others could read here: set {variable_of(name)}")
    near = difflib.get_close_matches(flag, parser._option_string_actions, n=1)
    hint = f"did you mean {near[0]}?" if near else f"`{parser.prog} --help` tells the usual ones"
    raise ValueError(f"unknown flag {flag}: {hint}")


def _set_up_logging() -> None:
    """Show warnings of all libraries, and also the good news of mien: what was lost is back."""
    if logging.getLogger().handlers:  # a program that calls `main` has its own
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("mien").setLevel(logging.INFO)


class _LineFormatter(logging.Formatter):
    """Formats a warning like our errors; news has no prefix."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return f"{record.levelname.lower()}: {line}" if record.levelno > logging.INFO else line
