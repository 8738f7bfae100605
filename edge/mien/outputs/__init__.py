"""Where results go; `open_output` finds the right one for what `--output` was given.

A new output is one new file with one class, and one line in `open_output`.
"""

from pathlib import Path

from mien.outputs.base import Output

__all__ = ["FORMS", "Output", "open_output"]

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv")
FORMS = "text, jsonl, window, or a file: .jsonl, .mp4, .avi or .mkv (annotated video), .png (contact sheet)"


def open_output(text: str, frame_rate: float) -> Output:
    """Open what `--output` was given; `FORMS` says what is allowed.

    Args:
        text: "text" or "jsonl" for standard output, "window", or a file's name.
        frame_rate: frames/s of the source, for a video.

    Raises:
        ValueError: it is none of these.
        OSError: the file cannot be written, or there is no screen for a window.
    """
    # Each class is imported when it is needed: a device pays only for the outputs that it uses.
    suffix = Path(text).suffix.lower()
    if text == "text":
        from mien.outputs.text import TextOutput

        return TextOutput()
    if text == "jsonl" or suffix == ".jsonl":
        from mien.outputs.jsonl import JsonLinesOutput

        return JsonLinesOutput(None if text == "jsonl" else Path(text))
    if text == "window":
        from mien.outputs.window import WindowOutput

        return WindowOutput()
    if suffix in VIDEO_SUFFIXES:
        from mien.outputs.video import VideoOutput

        return VideoOutput(Path(text), frame_rate)
    if suffix == ".png":
        from mien.outputs.contact_sheet import ContactSheetOutput

        return ContactSheetOutput(Path(text))
    raise ValueError(f"unknown output {text!r}: allowed are {FORMS}")
