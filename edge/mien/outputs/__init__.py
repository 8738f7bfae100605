"""Where results go; `open_output` finds the right one for what `--output` was given.

A new output is one new file with one class (or a folder, if it is large), and one line in `open_output`.
"""

from pathlib import Path

from mien.outputs.base import Output, OutputContext

__all__ = ["FORMS", "Output", "OutputContext", "open_output"]

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv")
FORMS = (
    "text, jsonl, window, mqtt, mqtt:HOST, mqtt:HOST:PORT, web, web:PORT, web:HOST:PORT, or a file: .jsonl, .csv, "
    ".mp4, .avi or .mkv (annotated video), .png (contact sheet)"
)


def open_output(text: str, context: OutputContext) -> Output:
    """Open what `--output` was given; `FORMS` says what is allowed.

    Args:
        text: "text" or "jsonl" for standard output, "window", "web", or a file's name.
        context: what outputs may know of the run.

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

        return JsonLinesOutput(None if text == "jsonl" else Path(text), context.config.log_size_mb)
    if suffix == ".csv":
        from mien.outputs.csv_file import CsvOutput

        return CsvOutput(Path(text), context.config.log_size_mb)
    if text == "window":
        from mien.outputs.window import WindowOutput

        return WindowOutput()
    if text == "mqtt" or text.startswith("mqtt:"):
        from mien.outputs.mqtt import MqttOutput

        return MqttOutput(context, text.removeprefix("mqtt").removeprefix(":"))
    if text == "web" or text.startswith("web:"):
        from mien.outputs.web import WebOutput

        return WebOutput(context, text.removeprefix("web").removeprefix(":"))
    if suffix in VIDEO_SUFFIXES:
        from mien.outputs.video import VideoOutput

        return VideoOutput(Path(text), context.frame_rate, context.config.blur_faces)
    if suffix == ".png":
        from mien.outputs.contact_sheet import ContactSheetOutput

        return ContactSheetOutput(Path(text), context.config.blur_faces)
    raise ValueError(f"unknown output {text!r}: allowed are {FORMS}")
