"""A clip in memory, played again and again: what is measured then is the work on its frames, not reading them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from threading import Event

from mien.sources import DEMO_CLIP, Frame, Source, open_source

MOST_BYTES = 256 * 2**20
"""The frames of a clip take so much memory at most; a Raspberry Pi has little."""


@dataclass(frozen=True)
class Clip:
    """The first frames of a video file.

    Attributes:
        path: of the file.
        frames: decoded.
        length_s: from the first frame to where one more would follow the last.
    """

    path: Path
    frames: list[Frame]
    length_s: float

    def looped(self) -> Iterator[Frame]:
        """Yield the frames without end; number and time go on rising, and they are taken when they are asked for."""
        for loop in count():
            for frame in self.frames:
                yield Frame(frame.image, loop * len(self.frames) + frame.index, loop * self.length_s + frame.time_s)


class LoopedSource(Source):
    """Plays a clip again and again, each frame in memory of its own, as a camera's are.

    Args:
        clip: what to play.
        frames: so many of them; None: until it is closed.
        is_live: be a camera: each frame comes at its own time, whether somebody waits for it or not.
    """

    def __init__(self, clip: Clip, frames: int | None, is_live: bool = False) -> None:
        self.name, self.frame_rate, self.is_live = str(clip.path), len(clip.frames) / clip.length_s, is_live
        self._clip, self._frames = clip, frames
        self._closed = Event()

    def __iter__(self) -> Iterator[Frame]:
        started_s = time.monotonic()
        for frame in islice(self._clip.looped(), self._frames):
            if self._closed.wait(max(0.0, started_s + frame.time_s - time.monotonic()) if self.is_live else 0):
                return
            yield Frame(frame.image.copy(), frame.index, frame.time_s)

    def close(self) -> None:
        """End the play."""
        self._closed.set()


def load_clip(source: str, most_frames: int) -> Clip:
    """Decode a clip, as far as `most_frames` and memory allow.

    Args:
        source: a video file, or "demo".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or has one frame.
    """
    path = find_clip(source)
    with open_source(str(path)) as frames:
        if not frames.is_continuous:
            raise ValueError(f"--source {source} is no video: give a video file such as .mp4, or demo")
        kept: list[Frame] = []
        for frame in frames:
            kept.append(frame)
            if len(kept) >= most_frames or len(kept) * frame.image.nbytes >= MOST_BYTES:
                break
        if len(kept) < 2:
            raise ValueError(f"--source {source} has one frame: give a longer video")
        return Clip(path, kept, kept[-1].time_s + 1 / frames.frame_rate)


def find_clip(source: str) -> Path:
    """Return the file that `--source` means: cameras and streams never show the same twice."""
    path = DEMO_CLIP if source == "demo" else Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"no clip at {source}: allowed are a video file, which is played in turns, or demo")
    return path
