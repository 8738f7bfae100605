"""Where mien keeps its own files, and files that appear under their names only when they are whole."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def data_dir() -> Path:
    """Return the folder of what mien was given on this machine.

    $XDG_DATA_HOME/mien, else ~/.local/share/mien; /var/lib/mien for a user without a home, as services may have.
    """
    if chosen := os.environ.get("XDG_DATA_HOME"):
        return Path(chosen) / "mien"
    try:
        return Path.home() / ".local" / "share" / "mien"
    except RuntimeError:
        return Path("/var/lib/mien")


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file, which gets its name when it is finished and on the disk."""
    # The name keeps its suffix: Keras and numpy go by it.
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        write(unfinished)
        with open(unfinished, "rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the name without the content
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
