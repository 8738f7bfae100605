"""mien beside what else one could take: the same images, the same clip, the same run.

    python -m benchmarks peers --data fer2013.csv --source party.mp4

Each peer lives in an environment of its own, which is made the first time (`peers_adapters/` says how to add one).
What cannot be installed or run is named with the reason.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.clips import Clip, load_clip
from benchmarks.figures import new_figure
from benchmarks.peers_adapters.adapter import OURS, Adapter, find_adapter
from benchmarks.peers_adapters.environment import Environment, prepare
from benchmarks.peers_adapters.process import PeerProcess
from benchmarks.robustness import choose_images
from benchmarks.statistics import load_scipy_stats, share_interval
from mien.config import Config
from mien.emotions import EMOTIONS
from mien.fer2013 import Fer2013, load_fer2013
from mien.progress import ProgressBar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENVIRONMENTS = Path("~/.cache/mien/peers")
BLOCK = 25
"""After so many frames the next peer has its turn, so that whatever else the machine does hurts all alike."""

WARM_UP = 5


@dataclass
class Peer:
    """A peer that is being measured.

    Attributes:
        seconds, faces: of each frame that it looked at.
        blocks_s: first frame of a block -> how long the block took in each round.
        predictions: positions in `EMOTIONS`, of each image.
    """

    adapter: Adapter
    environment: Environment
    process: PeerProcess
    seconds: list[float] = field(default_factory=list)
    faces: list[int] = field(default_factory=list)
    blocks_s: dict[int, list[float]] = field(default_factory=dict)
    peak_mb: float = 0.0
    predictions: list[int] = field(default_factory=list)


Play = Callable[[Peer, int, list[int]], dict[str, Any]]
"""Of a peer, the number of a round, and numbers of frames: returns what the peer answers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add data, clip and peers."""
    parser.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    parser.add_argument("--images", type=int, metavar="N", help="test images, drawn at random (default: all)")
    parser.add_argument("--source", default="demo", metavar="CLIP", help="a video file (default: demo)")
    parser.add_argument("--frames", type=int, default=150, metavar="N", help="of the clip, at most (default: 150)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="each peer plays it so often (default: 3)")
    parser.add_argument("--threads", type=int, default=Config.threads, metavar="N", help=f"default: {Config.threads}")
    parser.add_argument(
        "--peers", nargs="+", default=list(OURS), metavar="PEER", help=f"of {', '.join(OURS)}; or an adapter's file"
    )
    parser.add_argument(
        "--environments", type=Path, default=ENVIRONMENTS, metavar="DIR", help=f"default: {ENVIRONMENTS}; takes GB"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the peers in turns.

    Returns:
        {"clip", "size", "frames", "rounds", "images", "threads", "peers": [{"peer", "how", "note", "versions",
        "accuracy", "interval_95": half of it, "frames_per_s", "ratio_to_mien", "faces_found": frames with a face,
        rightly or not, in all rounds, "peak_mb", "installed_mb", "packages", "import_s"}], "not_measured": [{"peer",
        "why"}]}. `ratio_to_mien` is None where mien was not measured.

    Raises:
        OSError, ValueError, ImportError: a flag, the data, the clip or an adapter is no good, or SciPy is missing.
    """
    for name, least in (("images", 1), ("frames", 2), ("rounds", 1), ("threads", 1)):
        if (value := getattr(arguments, name)) is not None and value < least:
            raise ValueError(f"--{name} {value} must be {least} or more")
    load_scipy_stats()
    adapters = [find_adapter(peer) for peer in dict.fromkeys(arguments.peers)]
    images = choose_images(load_fer2013(arguments.data), arguments.images)
    clip = load_clip(arguments.source, arguments.frames)
    why: dict[str, str] = {}
    with ExitStack() as stack:
        peers = []
        for adapter in adapters:
            try:
                environment = prepare(adapter, arguments.environments.expanduser())
                process = stack.enter_context(closing(PeerProcess(environment.python, adapter.path, arguments.threads)))
                peers.append(Peer(adapter, environment, process))
            except OSError as error:
                why[adapter.name] = str(error)
        peers = _play(peers, clip, arguments.rounds, why)
        peers = _classify(peers, images, why)
        entries = [_entry(peer, images, len(clip.frames)) for peer in peers]
    ours = next((entry["frames_per_s"] for entry in entries if entry["peer"] == "mien"), None)
    for entry in entries:
        entry["ratio_to_mien"] = round(entry["frames_per_s"] / ours, 4) if ours else None
    height, width = clip.frames[0].image.shape[:2]
    return {
        "clip": clip.path.name,
        "size": f"{width}x{height}",
        "frames": len(clip.frames),
        "rounds": arguments.rounds,
        "images": len(images),
        "threads": arguments.threads,
        "peers": entries,
        "not_measured": [{"peer": name, "why": reason} for name, reason in why.items()],
    }


def _play(peers: list[Peer], clip: Clip, rounds: int, why: dict[str, str]) -> list[Peer]:
    """Let all peers see the same frames, block by block in turns; return those that could."""
    size, shape = len(clip.frames), list(clip.frames[0].image.shape)
    with tempfile.TemporaryDirectory() as folder, ProgressBar("frames", (rounds * size) or 1, unit="frames") as bar:
        file = Path(folder, "frames.raw")
        with open(file, "wb") as raw:
            for frame in clip.frames:
                raw.write(frame.image.tobytes())

        def play(peer: Peer, turn: int, numbers: list[int]) -> dict[str, Any]:
            times_s = [turn * clip.length_s + clip.frames[number].time_s for number in numbers]
            return peer.process.ask("play", file=str(file), shape=shape, frames=numbers, times_s=times_s)

        peers = _each(peers, why, lambda peer: play(peer, 0, list(range(min(WARM_UP, size)))))
        for turn in range(1, rounds + 1):
            for start in range(0, size, BLOCK):
                numbers = list(range(start, min(start + BLOCK, size)))
                peers = _each(peers, why, partial(_note, play=play, turn=turn, numbers=numbers))
                bar.update((turn - 1) * size + numbers[-1] + 1)
    return peers


def _note(peer: Peer, play: Play, turn: int, numbers: list[int]) -> None:
    """Let a peer look at frames and keep what it took and found."""
    answer = play(peer, turn, numbers)
    peer.seconds.extend(answer["seconds"])
    peer.blocks_s.setdefault(numbers[0], []).append(sum(answer["seconds"]))
    peer.faces.extend(answer["faces"])
    peer.peak_mb = answer["peak_mb"]


def _classify(peers: list[Peer], images: Fer2013, why: dict[str, str]) -> list[Peer]:
    """Let all peers name the emotions of the same faces; return those that could."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "faces.npy")
        np.save(file, images.images)

        def classify(peer: Peer) -> None:
            print(f"{peer.adapter.name}: {len(images)} faces ...", file=sys.stderr, flush=True)
            names = peer.process.ask("classify", file=str(file))["names"]
            if unknown := set(names) - set(EMOTIONS):
                raise ValueError(f"its adapter answers {min(unknown)!r}: allowed are {', '.join(EMOTIONS)}")
            peer.predictions = [EMOTIONS.index(name) for name in names]

        return _each(peers, why, classify)


def _each(peers: list[Peer], why: dict[str, str], ask: Callable[[Peer], Any]) -> list[Peer]:
    """Ask peers one after the other; return those that answered, and note why the others did not."""
    left = []
    for peer in peers:
        try:
            ask(peer)
            left.append(peer)
        except (OSError, ValueError) as error:
            why[peer.adapter.name] = str(error)
    return left


def _entry(peer: Peer, images: Fer2013, frames: int) -> dict[str, Any]:
    """Return a peer's figures; frames/s are those of the medians of the blocks' times over the rounds."""
    right = int((np.array(peer.predictions) == images.labels).sum())
    low, high = share_interval(right, len(images))
    packages = peer.environment.packages()
    return {
        "peer": peer.adapter.name,
        "how": peer.process.how,
        "note": peer.adapter.note,
        "versions": {name: packages[name] for name in peer.adapter.packages if name in packages},
        "accuracy": round(right / len(images), 5),
        "interval_95": round((high - low) / 2, 5),
        "median_ms": round(1000 * float(np.median(peer.seconds)), 3),
        "frames_per_s": round(frames / sum(map(median, peer.blocks_s.values())), 2),
        "faces_found": int(np.count_nonzero(peer.faces)),
        "peak_mb": round(peer.peak_mb, 1),
        "installed_mb": round(peer.environment.installed_mb(), 1),
        "packages": len(packages),
        "import_s": round(peer.environment.import_s, 3),
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table, with what each peer is, and what could not be measured."""
    frames = results["frames"] * results["rounds"]
    lines = [
        f"| | accuracy on {results['images']:,} | frames/s | of mien's | frames with a face, of {frames:,} "
        "| memory | installed | packages | import |",
        "|---" * 9 + "|",
    ]
    for peer in results["peers"]:
        ratio = "-" if peer["ratio_to_mien"] is None else f"{peer['ratio_to_mien']:.1%}"
        cells = [peer["peer"], f"{peer['accuracy']:.1%} ± {100 * peer['interval_95']:.1f}"]
        cells += [f"{peer['frames_per_s']:.1f}", ratio, f"{peer['faces_found']:,}", f"{peer['peak_mb']:.0f} MB"]
        cells += [f"{peer['installed_mb']:,.0f} MB", f"{peer['packages']}", f"{peer['import_s']:.2f} s"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"Clip {results['clip']}, {results['size']}; {results['threads']} threads.", ""]
    for peer in results["peers"]:
        versions = ", ".join(f"{name} {version}" for name, version in peer["versions"].items())
        lines.append(f"- {peer['peer']}: {peer['how']} ({versions}){'; ' if peer['note'] else ''}{peer['note']}")
    lines += [f"- {missing['peer']} was not measured: {missing['why']}" for missing in results["not_measured"]]
    return "\n".join(lines)


def plots(results: dict[str, Any]) -> dict[str, "Figure"]:
    """Draw frames/s and the size of the installation, both logarithmic."""
    if not results["peers"]:
        return {}
    figure = new_figure(10, 1.2 + 0.5 * len(results["peers"]))
    names = [peer["peer"] for peer in results["peers"]]
    panels = (
        ("frames_per_s", "frames/s (logarithmic)", "{:.1f}"),
        ("installed_mb", "MB installed (logarithmic)", "{:,.0f}"),
    )
    for axes, (key, title, form) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
        values = [peer[key] for peer in results["peers"]]
        bars = axes.barh(names, values, color=["tab:blue" if name == "mien" else "lightgray" for name in names])
        axes.bar_label(bars, [form.format(value) for value in values], padding=3)
        axes.set(xscale="log", xlabel=title, xlim=(min(values) / 2, max(values) * 4))
        axes.yaxis.set_inverted(True)
    return {"peers": figure}
