"""`mien video`: say what the people in videos show overall, with a plot over time."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from mien.commands.flags import add_settings, load
from mien.native_log import quiet_native_log
from mien.progress import ProgressBar


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("video", help="say what the people in videos show overall, with a plot over time")
    parser.add_argument("file", nargs="+", help="video files, or demo")
    parser.add_argument("--out", default=".", metavar="DIR", help="folder for NAME.csv and NAME.png (the current one)")
    parser.add_argument("--annotate", action="store_true", help="write NAME-annotated.mp4, too")
    add_settings(parser, ("detector", "model", "blur_faces"), only_these=True)
    parser.set_defaults(function=_video, parser=parser)


def _video(arguments: argparse.Namespace) -> int:
    """Print a summary of each file; 1 if one of them cannot be worked on."""
    from mien.recognition import make_recognizer
    from mien.stopping import stop_on_signals
    from mien.video import check_usage, describe_clip, length_s, result_files, write_results

    config = load(arguments).config
    # There is time for every face of every frame.
    config = replace(config, max_classified=config.max_faces, realtime=False)
    folder, is_each_read = Path(arguments.out), True
    files = check_usage(arguments.file, folder, arguments.annotate)
    with quiet_native_log():
        recognizer = make_recognizer(config)
    with stop_on_signals(Event()) as stop:
        for file in files:
            try:
                with ProgressBar(file.name, length_s(file), unit="s of it") as bar:

                    def on_frame(time_s: float, bar: ProgressBar = bar) -> None:
                        bar.update(time_s)
                        if stop.is_made:
                            raise KeyboardInterrupt

                    summary = write_results(file, folder, arguments.annotate, recognizer, config, on_frame)
                    bar.update(summary.length_s)
            except (OSError, ValueError) as error:
                is_each_read = False
                print(f"error: {error}", file=sys.stderr)
                continue
            written = [str(path) for path in result_files(file, folder, arguments.annotate) if path.exists()]
            print(f"{describe_clip(file.name, summary)}\n  wrote {', '.join(written)}", flush=True)
    return 0 if is_each_read else 1
