"""`mien image`: say what the faces of photographs show."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mien.commands.flags import add_settings, load
from mien.detectors import open_detector
from mien.native_log import quiet_native_log
from mien.outputs.text import describe


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("image", help="say what the faces of photographs show")
    parser.add_argument("file", nargs="+", help="image files")
    parser.add_argument("--json", action="store_true", help='a line for each file: {"file": ..., "faces": [...]}')
    add_settings(parser, ("detector", "model"), only_these=True)
    parser.set_defaults(function=_image, parser=parser)


def _image(arguments: argparse.Namespace) -> int:
    """Print a line for each file; 1 if one of them cannot be read."""
    import cv2

    from mien.recognizer import EmotionRecognizer
    from mien.sources.images import read_image

    config = load(arguments).config
    cv2.setNumThreads(config.threads)
    with quiet_native_log():
        detector = open_detector(config.detector, for_stills=True, num_threads=config.threads)
        recognizer = EmotionRecognizer(
            config.model, detector, num_threads=config.threads, max_faces=100, max_classified=100
        )
    is_each_read = True
    for file in arguments.file:
        image = read_image(Path(file))
        if image is None:
            is_each_read = False
            is_there = Path(file).exists()
            reason = "cannot be read as an image: give a .jpg, .png or the like" if is_there else "does not exist"
            print(f"error: {file} {reason}", file=sys.stderr)
            continue
        recognizer.reset()
        faces = recognizer.recognize(image, 0.0)
        if arguments.json:
            print(json.dumps({"file": file, "faces": [face.to_dict() for face in faces]}), flush=True)
        else:
            print(f"{file}  {', '.join(map(describe, faces)) or 'no face'}", flush=True)
    return 0 if is_each_read else 1
