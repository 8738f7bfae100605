"""What happens, for people: a line whenever a face comes, goes or changes its expression."""

import time

from mien.faces import Face, FrameResult, Image
from mien.outputs.base import Output
from mien.tracker import MAX_GAP_S


class TextOutput(Output):
    """Prints changes as they happen, and what was seen in all at the end; of images, a line each."""

    queue_size = 100
    is_record = True

    def __init__(self) -> None:
        self._shown: dict[int, tuple[str, float]] = {}  # id -> label last printed, time last seen
        self._faces = 0
        self._frames = 0
        self._is_video = True
        self._previous_s = 0.0
        self._started_s = time.monotonic()

    def write(self, image: Image, result: FrameResult) -> None:
        """Print what is new in this frame."""
        self._frames += 1
        if result.name:
            self._is_video = False
            self._faces += len(result.faces)
            print(f"{result.name}  {', '.join(map(describe, result.faces)) or 'no face'}", flush=True)
        else:
            self._print_changes(result)

    def close(self) -> None:
        """Print the sum."""
        if not self._frames:
            return
        seconds = time.monotonic() - self._started_s
        faces, plural = f"{self._faces} face{'' if self._faces == 1 else 's'}", "" if self._frames == 1 else "s"
        if self._is_video:
            rate = f", {self._frames / seconds:.0f} frames/s" if self._frames > 1 else ""
            print(f"{self._frames} frame{plural} in {seconds:.1f} s{rate}; {faces} followed", flush=True)
        else:
            print(f"{self._frames} image{plural}; {faces}", flush=True)

    def _print_changes(self, result: FrameResult) -> None:
        shown, now_s = clock(result.time_s), result.steady_s
        for face in result.faces:
            known = self._shown.get(face.track_id)
            if known is None:
                self._faces += 1
                print(f"{shown}  face {face.track_id}  {describe(face)}", flush=True)
            elif known[0] != face.label:
                print(f"{shown}  face {face.track_id}  {face.caption}", flush=True)
            self._shown[face.track_id] = (face.label, now_s)
        for track_id, (_, seen_s) in list(self._shown.items()):
            # As in the tracker: until a face is missed in a frame, it is there, however slowly they come.
            if now_s - seen_s > MAX_GAP_S and seen_s < self._previous_s:
                print(f"{shown}  face {track_id}  gone", flush=True)
                del self._shown[track_id]
        self._previous_s = now_s


def describe(face: Face) -> str:
    """Return a face's caption, size and place."""
    box = face.box
    return f"{face.caption}, {box.width} pixels wide at ({box.x}, {box.y})"


def clock(time_s: float) -> str:
    """Return minutes and seconds of a file's time; the time of day of a camera's Unix time."""
    if time_s > 1e9:
        return time.strftime("%H:%M:%S", time.localtime(time_s))
    return f"{int(time_s // 60):02d}:{time_s % 60:05.2f}"
