"""The command `mien`: `mien run --source camera --output jsonl`."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mien import __version__, outputs, sources
from mien.card import DEFAULT_MODEL, MODELS_DIR, model_names, read_card
from mien.config import Settings, all_settings, load_settings, to_toml
from mien.detectors import HaarDetector
from mien.health import Health
from mien.native_log import quiet_native_log
from mien.outputs.text import describe

FLAGS_OF_SECTIONS = ("web.host", "web.port", "web.no_auth")
"""Of the sections, only these have flags; docs/run.md tells the others."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="mien", description="Recognise facial emotions in real time.")
    parser.add_argument("--version", action="version", version=f"mien {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="watch a camera, a video or images and say what the faces show")
    _add_settings(run)
    run.set_defaults(function=_run)

    image = commands.add_parser("image", help="say what the faces of photographs show")
    image.add_argument("file", nargs="+", help="image files")
    image.add_argument("--json", action="store_true", help='a line for each file: {"file": ..., "faces": [...]}')
    image.add_argument("--model", default=DEFAULT_MODEL, help=f"a name of `mien models` or a file ({DEFAULT_MODEL})")
    image.set_defaults(function=_image)

    config = commands.add_parser("config", help="show the settings, and where each comes from")
    config.add_argument("action", choices=["show"], help="print them as TOML")
    _add_settings(config)
    config.set_defaults(function=_config)

    models = commands.add_parser("models", help="list the models that came with mien")
    models.set_defaults(function=_models)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting; values stay texts, which `load_settings` checks."""
    parser.add_argument("--config", metavar="FILE", dest="config_file", help="TOML file with settings")
    for name, entry, kind in all_settings():
        if "." in name and name not in FLAGS_OF_SECTIONS:
            continue
        flag = f"--{name.replace('.', '-').replace('_', '-')}"
        default = "" if entry.default in ("", False) else f" ({_shown(entry.default)})"
        options: dict[str, Any] = {"dest": f"setting:{name}", "help": entry.metadata["text"] + default}
        if kind is bool:
            parser.add_argument(flag, action="store_const", const=True, **options)
        else:
            metavar = name.rpartition(".")[2].upper()
            action = "append" if kind == tuple[str, ...] else "store"
            parser.add_argument(flag, action=action, metavar=metavar, **options)


def _shown(default: object) -> str:
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _load(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the flags, the environment and a file give."""
    given = {name.removeprefix("setting:"): value for name, value in vars(arguments).items() if ":" in name}
    return load_settings({name: value for name, value in given.items() if value is not None}, arguments.config_file)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code: 0, 1 for a failure, 2 for wrong usage."""
    # FFmpeg and OpenCV complain of a bad file in their own words, beside our one line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.function(arguments))
    except BrokenPipeError:
        # The reader has seen enough (`mien run ... | head`); keep Python from complaining on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed: pip install 'mien[edge]' brings all that is needed", file=sys.stderr
        )
        return 1
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def _run(arguments: argparse.Namespace) -> int:
    from mien.streaming import make_recognizer, run_stream

    config = _load(arguments).config
    _check_outputs(config.source, config.output)
    with quiet_native_log():
        recognizer = make_recognizer(config)
    health = Health()
    with ExitStack() as stack:
        source = stack.enter_context(sources.open_source(config.source, config, health))
        context = outputs.OutputContext(config, source.frame_rate, health)
        opened = {text: stack.enter_context(outputs.open_output(text, context)) for text in config.output}
        stack.pop_all()  # from here on, the stream closes them, each in its own thread
    run_stream(source, recognizer, opened, health)
    return 0


def _image(arguments: argparse.Namespace) -> int:
    """Print a line for each file; 1 if one of them cannot be read."""
    import cv2

    from mien.recognizer import EmotionRecognizer

    with quiet_native_log():
        recognizer = EmotionRecognizer(arguments.model, HaarDetector.for_stills(), max_faces=100, max_classified=100)
    is_each_read = True
    for file in arguments.file:
        image = cv2.imread(file, cv2.IMREAD_COLOR)
        if image is None:
            is_each_read = False
            print(f"error: {file} cannot be read as an image: give a .jpg, .png or the like", file=sys.stderr)
            continue
        recognizer.reset()
        faces = recognizer.recognize(image, 0.0)
        if arguments.json:
            print(json.dumps({"file": file, "faces": [face.to_dict() for face in faces]}), flush=True)
        else:
            print(f"{file}  {', '.join(map(describe, faces)) or 'no face'}", flush=True)
    return 0 if is_each_read else 1


def _config(arguments: argparse.Namespace) -> int:
    print(to_toml(_load(arguments)), end="")
    return 0


def _check_outputs(source: str, texts: Sequence[str]) -> None:
    """Raise ValueError for outputs that would overwrite the source or each other."""
    if "text" in texts and "jsonl" in texts:
        raise ValueError("--output text and jsonl both print: give jsonl a file, such as --output faces.jsonl")
    paths = [Path(text).resolve() for text in texts]
    for text, path in zip(texts, paths, strict=True):
        if paths.count(path) > 1:
            raise ValueError(f"--output {text} is given twice: give each output once")
        if path.exists() and Path(source).exists() and Path(source).resolve() in (path, path.parent):
            raise ValueError(f"--output {text} would overwrite the source: give another name")


def _models(_: argparse.Namespace) -> int:
    for name in model_names():
        card = read_card(MODELS_DIR / f"{name}.json")
        mark = " (default)" if name == DEFAULT_MODEL else ""
        print(f"{name}{mark}: {card.description}; {card.size_bytes / 1e6:.2f} MB")
    return 0
