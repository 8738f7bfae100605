"""What happens, for people: a line whenever a face comes, goes or changes its expression."""

import time

from mien.faces import Face, FrameResult, Image
from mien.outputs.base import Output

GONE_AFTER_S = 0.5
"""A face that is missed for a shorter time has not left."""


class TextOutput(Output):
    """Prints changes as they happen, and what was seen in all at the end."""

    def __init__(self) -> None:
        self._shown: dict[int, tuple[str, float]] = {}  # id -> emotion last printed, time last seen
        self._ids: set[int] = set()
        self._frames = 0
        self._started_s = time.monotonic()

    def write(self, image: Image, result: FrameResult) -> None:
        """Print what is new in this frame."""
        self._frames += 1
        for face in result.faces:
            known = self._shown.get(face.track_id)
            if known is None:
                self._ids.add(face.track_id)
                box = face.box
                self._print(result, face, f", {box.width} pixels wide at ({box.x}, {box.y})")
            elif known[0] != face.emotion:
                self._print(result, face, "")
            self._shown[face.track_id] = (face.emotion, result.time_s)
        for track_id, (_, seen_s) in list(self._shown.items()):
            if result.time_s - seen_s > GONE_AFTER_S:
                print(f"{_clock(result.time_s)}  face {track_id}  gone", flush=True)
                del self._shown[track_id]

    def close(self) -> None:
        """Print the sum."""
        seconds = time.monotonic() - self._started_s
        rate = f", {self._frames / seconds:.0f} frames/s" if self._frames > 1 else ""
        faces = f"{len(self._ids)} face{'' if len(self._ids) == 1 else 's'}"
        print(f"{self._frames} frames in {seconds:.1f} s{rate}; {faces} followed", flush=True)

    @staticmethod
    def _print(result: FrameResult, face: Face, where: str) -> None:
        print(
            f"{_clock(result.time_s)}  face {face.track_id}  {face.emotion} {face.confidence:.0%}{where}",
            flush=True,
        )


def _clock(time_s: float) -> str:
    """Minutes and seconds of a file's time; the time of day of a camera's Unix time."""
    if time_s > 1e9:
        return time.strftime("%H:%M:%S", time.localtime(time_s))
    return f"{int(time_s // 60):02d}:{time_s % 60:05.2f}"
