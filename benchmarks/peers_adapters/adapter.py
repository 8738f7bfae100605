"""Reads what an adapter's file says of its peer; its class is for the peer's own environment."""

import runpy
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("NAME", "REQUIREMENTS", "IMPORT", "PACKAGES", "Peer")


@dataclass(frozen=True)
class Adapter:
    """One peer.

    Attributes:
        path: of its file.
        name: how tables call it.
        requirements: what pip is told to install.
        import_statement: whose time is measured.
        packages: whose versions are told.
        note: what a reader of the figures must know.
        sources: files and folders whose change makes the environment stale.
    """

    path: Path
    name: str
    requirements: tuple[str, ...]
    import_statement: str
    packages: tuple[str, ...]
    note: str = ""
    sources: tuple[Path, ...] = ()


def find_adapter(peer: str) -> Adapter:
    """Return the adapter with that name in this folder, or in that file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no adapter.
    """
    path = Path(peer) if peer.endswith(".py") else Path(__file__).parent / f"{peer}.py"
    if not path.is_file():
        raise FileNotFoundError(f"no peer {peer}: allowed are {', '.join(OURS)}, or the file of an adapter")
    try:
        content = runpy.run_path(str(path))
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read ({error}): import at its top the standard library alone") from error
    if missing := [name for name in NEEDED if name not in content]:
        raise ValueError(f"{path} has no {missing[0]}: an adapter has {', '.join(NEEDED)}")
    return Adapter(
        path.resolve(),
        content["NAME"],
        tuple(content["REQUIREMENTS"]),
        content["IMPORT"],
        tuple(content["PACKAGES"]),
        content.get("NOTE", ""),
        tuple(content.get("SOURCES", ())),
    )


OURS = ("mien_itself", "fer_package", "keras_loop", "tflite_loop")
