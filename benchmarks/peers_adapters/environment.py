"""An environment for each peer: made once, used again, made anew when it is half-made, broken or stale.

It is made without pip, which this process' own pip fills from outside: what lies in it is the peer and no more.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from statistics import median

from benchmarks.peers_adapters.adapter import Adapter

STAMP = "mien-peer.json"
"""Written last; an environment without it is half-made."""

INSTALL_S = 3600
IMPORT_S = 300
IMPORTS = 3


@dataclass(frozen=True)
class Environment:
    """A peer's environment.

    Attributes:
        folder: of the environment.
        import_s: median time of the adapter's import statement in a fresh process.
    """

    folder: Path
    import_s: float

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def packages(self) -> dict[str, str]:
        """Return the version of each installed package, by its name in lower case with hyphens."""
        found = distributions(path=[str(folder) for folder in _site_packages(self.folder)])
        return {each.metadata["Name"].lower().replace("_", "-"): each.version for each in found}

    def installed_mb(self) -> float:
        """Return the size of all files of the packages, in MB."""
        files = (file for folder in _site_packages(self.folder) for file in folder.rglob("*"))
        return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink()) / 1e6


def prepare(adapter: Adapter, environments: Path) -> Environment:
    """Return the adapter's environment, which is made if it is not there, and its import time.

    Args:
        adapter: of the peer.
        environments: folder of all environments; made if it is missing.

    Raises:
        OSError: it cannot be made; the message has pip's last line about it.
        ValueError: something else is in the place of the environment.
    """
    folder = environments / f"{adapter.path.stem}-{sys.version_info.major}.{sys.version_info.minor}"
    if _stamp(folder) == _wanted(adapter):
        try:
            return Environment(folder, _import_s(folder, adapter))
        except OSError as error:
            print(f"{adapter.name}: its environment is broken ({error}) and made anew", file=sys.stderr)
    _clear(folder)
    print(f"{adapter.name}: installing into {folder}, this once ...", file=sys.stderr, flush=True)
    _install(adapter, folder)
    environment = Environment(folder, _import_s(folder, adapter))
    (folder / STAMP).write_text(json.dumps(_wanted(adapter)))
    return environment


def last_line(log: str) -> str:
    """Return what a log says of a failure: pip's or Python's last line about an error, else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("WARNING", "[notice]", "hint:", "note:"))]
    errors = [line for line in told if line.lower().startswith("error") or "Error: " in line]
    line = (errors or told or ["it says nothing"])[-1]
    return line.removeprefix("ERROR: ")[:300]


def _install(adapter: Adapter, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], log)
    if adapter.requirements:
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
        _run([*pip, "--disable-pip-version-check", "--no-input", *adapter.requirements], log)


def _run(command: list[str], log: Path) -> None:
    """Run a command whose output goes to a file.

    Raises:
        OSError: it failed, or took longer than an hour.
    """
    with open(log, "w") as file:
        try:
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=INSTALL_S).returncode
        except subprocess.TimeoutExpired as error:
            raise OSError(f"the installation took longer than {INSTALL_S} s, its log is {log}") from error
    if code:
        raise OSError(last_line(log.read_text(errors="replace")))


def _import_s(folder: Path, adapter: Adapter) -> float:
    """Return the median time of the import.

    Raises:
        OSError: it fails.
    """
    timed = f"import time; start = time.perf_counter(); {adapter.import_statement}\n"
    command = [str(folder / "bin" / "python"), "-I", "-c", f"{timed}print(); print(time.perf_counter() - start)"]
    times_s = []
    for _ in range(IMPORTS):
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=IMPORT_S)
        except subprocess.TimeoutExpired as error:
            raise OSError(f"`{adapter.import_statement}` took longer than {IMPORT_S} s") from error
        if done.returncode:
            raise OSError(f"`{adapter.import_statement}` fails: {last_line(done.stderr)}")
        times_s.append(float(done.stdout.split()[-1]))
    return median(times_s)


def _wanted(adapter: Adapter) -> dict[str, object]:
    """Return what an environment must have been made from to be used again."""
    digest = hashlib.sha256()
    for file in _files(adapter.sources):
        digest.update(str(file).encode() + file.read_bytes())
    return {"python": sys.version, "requirements": list(adapter.requirements), "sources": digest.hexdigest()}


def _files(sources: tuple[Path, ...]) -> Iterator[Path]:
    for source in sources:
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


def _stamp(folder: Path) -> object:
    try:
        return json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return None


def _clear(folder: Path) -> None:
    """Remove an environment; nothing else is ever removed."""
    if not folder.exists():
        return
    if not (folder / "pyvenv.cfg").is_file() and any(os.scandir(folder)):
        raise ValueError(f"{folder} is no environment and is left alone: give another folder to --environments")
    shutil.rmtree(folder)


def _site_packages(folder: Path) -> list[Path]:
    return sorted(folder.glob("lib/python*/site-packages"))
