"""What each output takes of the time of a frame."""

import io
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from urllib.request import urlopen

from benchmarks.broker import Broker
from benchmarks.clips import Clip
from benchmarks.stages import Spans
from mien.faces import FrameResult
from mien.outputs import OutputContext, open_output
from mien.outputs.base import Output
from mien.outputs.web import WebOutput
from mien.recognizer import EmotionRecognizer

OUTPUTS = ("text", ".jsonl", ".csv", ".mp4", ".png", "window", "web", "mqtt")

PACED = ("web", "mqtt")
"""They send some frames and skip others, by the clock: these get the frames at the clip's own speed."""

START_S = 5.0


def measure_outputs(clip: Clip, recognizer: EmotionRecognizer) -> tuple[Spans, list[dict[str, str]]]:
    """Measure how long each output takes to write each frame, in the thread that it has in a run.

    The web page has a viewer, who gets pictures and results; what is sent from the outputs' own threads is not counted.

    Returns:
        {"output NAME": seconds}, and [{"peer": "output NAME", "why" it was not measured}].
    """
    recognizer.reset()
    results = [
        (frame.image, FrameResult(frame.time_s, frame.index, recognizer.recognize(frame.image, frame.time_s)))
        for frame in clip.frames
    ]
    spans: Spans = {}
    missing: list[dict[str, str]] = []
    for name in OUTPUTS:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), ExitStack() as stack:
            try:
                output = stack.enter_context(_open(name, clip))
            except (OSError, ImportError) as error:
                missing.append({"peer": f"output {name}", "why": str(error)})
                continue
            times_s = spans[f"output {name}"] = []
            first_s = time.perf_counter()
            for image, result in results:
                if name in PACED:
                    time.sleep(max(0.0, first_s + result.time_s - results[0][1].time_s - time.perf_counter()))
                started_s = time.perf_counter()
                output.write(image, result)
                times_s.append(time.perf_counter() - started_s)
    return spans, missing


@contextmanager
def _open(name: str, clip: Clip) -> Iterator[Output]:
    context = OutputContext(frame_rate=len(clip.frames) / clip.length_s)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if name.startswith("."):
            name = str(folder / f"faces{name}")
        elif name == "web":
            name = "web:127.0.0.1:0"
        elif name == "mqtt":
            name = f"mqtt:127.0.0.1:{stack.enter_context(Broker(folder)).port}"
        output = stack.enter_context(open_output(name, context))
        if isinstance(output, WebOutput):
            for path in ("stream.mjpg", "events"):
                threading.Thread(target=_look, args=(urlopen(output.url + path, timeout=START_S),), daemon=True).start()
        yield output


def _look(viewer: io.BufferedIOBase) -> None:
    with viewer, suppress(OSError):
        while viewer.read1(65536):  # until the output is closed
            pass
