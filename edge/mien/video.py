"""The work of `mien video`: a summary, a table, a plot and an annotated copy of each file, whole or not at all."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from mien.clip import ClipSummary, clock, counted, facts, split_persons, summarize_clip, top_emotions
from mien.config import Config
from mien.files import write_whole
from mien.outputs.base import Output
from mien.outputs.csv_file import CsvOutput
from mien.outputs.files import check_writable
from mien.outputs.timeline import draw_timeline
from mien.outputs.video import VideoOutput
from mien.recognizer import EmotionRecognizer
from mien.sources import DEMO_CLIP, IMAGE_SUFFIXES, open_source
from mien.sources.capture import open_capture
from mien.sources.network import is_url


def result_files(file: Path, folder: Path, is_annotated: bool) -> list[Path]:
    """Return what `write_results` may write: table, plot and, if wanted, the annotated copy."""
    ends = (".csv", ".png", "-annotated.mp4")
    return [folder / f"{file.stem}{end}" for end in ends[: 3 if is_annotated else 2]]


def check_usage(texts: Sequence[str], folder: Path, is_annotated: bool) -> list[Path]:
    """Return the files that were given, when all of them can be worked on; makes the folder.

    Raises:
        ValueError: one is a camera, a stream, a folder or an image, or results would overwrite each other or a source.
        OSError: the folder cannot be made or written to.
    """
    files = [_file(text) for text in texts]
    taken: dict[Path, Path] = {}
    for file in files:
        for result in result_files(file, folder, is_annotated):
            if result in taken:
                raise ValueError(f"{taken[result]} and {file} both give {result}: give one of them another --out")
            taken[result] = file
            for source in files:
                if result.exists() and source.exists() and result.samefile(source):
                    raise ValueError(f"the results of {file} would overwrite {source}: give another folder with --out")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--out {folder} is a file: give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    for result in taken:
        check_writable(result)
    return files


def length_s(file: Path) -> float:
    """Return the length of a video in seconds as the file tells it; 0 if it does not."""
    import cv2

    capture = open_capture(str(file.resolve()))
    frames, frame_rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames / frame_rate if frames > 0 and frame_rate > 0 else 0.0


def write_results(
    file: Path,
    folder: Path,
    is_annotated: bool,
    recognizer: EmotionRecognizer,
    config: Config,
    on_frame: Callable[[float], object] = lambda time_s: None,
) -> ClipSummary:
    """Go through a video and write its `result_files`; a plot of no face is none, and an older one goes.

    Args:
        file: a video file.
        folder: where results go.
        is_annotated: whether a copy with the faces drawn on it is written.
        recognizer: as `summarize_clip` wants it.
        config: how the pictures are turned, and whether faces are blurred.
        on_frame: called with the time of each frame, after it; what it raises ends the work, and nothing is written.

    Raises:
        OSError, ValueError: there is no such file, it holds no frame, or a result cannot be written.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: give a video file")
    table, plot, *copy = results = result_files(file, folder, is_annotated)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as name:
        unfinished = Path(name)
        with ExitStack() as stack:
            source = stack.enter_context(open_source(str(file), config))
            outputs: list[Output] = [stack.enter_context(CsvOutput(unfinished / table.name))]
            for path in copy:
                video = VideoOutput(unfinished / path.name, source.frame_rate, config.blur_faces)
                outputs.append(stack.enter_context(video))
            summary = summarize_clip(source, recognizer, config.blur_faces, outputs, on_frame)
        if summary.persons:
            _write_plot(unfinished / plot.name, file.name, summary)
        for path in results:
            if (unfinished / path.name).exists():
                write_whole(path, (unfinished / path.name).replace)
            else:
                path.unlink(missing_ok=True)
    return summary


def describe_clip(name: str, summary: ClipSummary) -> str:
    """Return the summary for people, in lines."""
    lines = [f"{name}  {facts(summary)}"]
    if summary.mean is None:
        return f"{lines[0]}\n  no face, so no plot"
    lines.append(f"  overall    {top_emotions(summary.mean)}")
    long, short = split_persons(summary)
    for person in long:
        seen = f"{clock(person.starts_s[0])}-{clock(person.ends_s[-1])}  {person.seen_s:5.1f} s"
        lines.append(f"  {f'person {person.track_id}':9}  {seen}  {top_emotions(person.mean)}")
    if short:
        lines.append(f"  {counted(len(short), 'more face')}, seen for less than a second")
    if len(summary.persons) > 1:
        lines.append("  (who was away for over half a second counts as another person)")
    return "\n".join(lines)


def _file(text: str) -> Path:
    """Return a file's path, or raise ValueError for what other commands are for."""
    if is_url(text) or text in ("auto", "camera", "picamera") or text.startswith("/dev/"):
        raise ValueError(f"{text} is no video file: `mien run --source` watches cameras and streams")
    path = DEMO_CLIP if text == "demo" else Path(text)
    if path.is_dir():
        raise ValueError(f"{text} is a folder: give the video files in it, or to `mien image` the images")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise ValueError(f"{text} is an image: `mien image` says what it shows")
    return path


def _write_plot(path: Path, name: str, summary: ClipSummary) -> None:
    import cv2

    # Not `imwrite`, which does not notice when the disk is too full for the last few kilobytes.
    is_encoded, png = cv2.imencode(".png", draw_timeline(name, summary))
    assert is_encoded
    path.write_bytes(png.tobytes())
