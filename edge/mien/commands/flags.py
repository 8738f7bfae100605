"""Settings as flags of a command."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien import sources
from mien.config import Settings, all_settings, flag_of, load_settings

EVERYDAY = ("source", "output", "detector", "model", "max_faces", "smoothing_s", "size", "rotate", "mirror", "realtime",
            "blur_faces")  # fmt: skip
"""Settings that help tells; the others, `mien config show`."""


def add_settings(parser: argparse.ArgumentParser, shown: Sequence[str] = EVERYDAY, only_these: bool = False) -> None:
    """Add a flag for each setting; values stay texts, which `load_settings` checks.

    Args:
        parser: of a command.
        shown: the settings that its help tells.
        only_these: whether the others are left out, rather than only not told.
    """
    parser.add_argument("--config", metavar="FILE", dest="config_file", help="TOML file with settings")
    for name, entry, kind in all_settings():
        if entry.metadata["is_secret"] or (only_these and name not in shown):
            continue
        default = "" if entry.default in ("", False) else f" ({_shown(entry.default)})"
        help_ = entry.metadata["text"] + default if name in shown else argparse.SUPPRESS
        options: dict[str, Any] = {"dest": f"setting:{name}", "help": help_}
        if kind is bool:
            flags = [flag_of(name), "--no-auth"] if name == "web.no_auth" else [flag_of(name)]
            parser.add_argument(*flags, action="store_const", const=True, **options)
            undo = {**options, "help": argparse.SUPPRESS}
            parser.add_argument(flag_of(f"no_{name}"), action="store_const", const=False, **undo)
        else:
            metavar = "N" if kind in (int, float) else name.rpartition(".")[2].upper()
            action = "append" if kind == tuple[str, ...] else "store"
            parser.add_argument(flag_of(name), action=action, metavar=metavar, **options)


def load(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the flags, the environment and a file give."""
    return load_settings(given_by(arguments), arguments.config_file)


def given_by(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the flags give, by dotted name."""
    given = {name.removeprefix("setting:"): value for name, value in vars(arguments).items() if ":" in name}
    return {name: value for name, value in given.items() if value is not None}


def check_outputs(source: str, texts: Sequence[str]) -> None:
    """Raise ValueError for outputs that would overwrite the source or each other."""
    if "text" in texts and "jsonl" in texts:
        raise ValueError("--output text and jsonl both print: give jsonl a file, such as --output faces.jsonl")
    paths = [Path(text).resolve() for text in texts]
    for text, path in zip(texts, paths, strict=True):
        if paths.count(path) > 1:
            raise ValueError(f"--output {text} is given twice: give each output once")
        is_image = path.suffix.lower() in sources.IMAGE_SUFFIXES
        overwritten = (path, path.parent) if is_image else (path,)
        if path.exists() and Path(source).exists() and Path(source).resolve() in overwritten:
            raise ValueError(f"--output {text} would overwrite the source: give another name")


def _shown(default: object) -> str:
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
