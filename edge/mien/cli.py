"""The command `mien`: `mien run --source camera --output jsonl`."""

import argparse
import logging
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from mien import __version__, outputs, sources
from mien.card import DEFAULT_MODEL, MODELS_DIR, model_names, read_card
from mien.native_log import quiet_native_log


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="mien", description="Recognise facial emotions in real time.")
    parser.add_argument("--version", action="version", version=f"mien {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="watch a camera, a video or images and say what the faces show")
    run.add_argument("--source", default="camera", help=f"{sources.FORMS} (default: camera)")
    run.add_argument(
        "--output", action="append", metavar="OUTPUT", help=f"{outputs.FORMS}; may be repeated (default: text)"
    )
    run.add_argument("--model", help=f"a name of `mien models` or a .tflite file (default: {DEFAULT_MODEL})")
    run.add_argument("--threads", type=int, default=1, help="threads of the classifier (default: 1)")
    run.add_argument("--max-faces", type=int, default=8, help="largest faces first (default: 8)")
    run.add_argument(
        "--smoothing", type=float, default=0.3, metavar="SECONDS", help="time constant, 0 for none (default: 0.3)"
    )
    run.set_defaults(function=_run)

    models = commands.add_parser("models", help="list the models that came with mien")
    models.set_defaults(function=_models)
    return parser


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
    from mien.recognizer import EmotionRecognizer
    from mien.stream import run_stream

    output_texts = arguments.output or ["text"]
    _check_outputs(arguments.source, output_texts)
    with quiet_native_log():
        recognizer = EmotionRecognizer(
            arguments.model,
            num_threads=arguments.threads,
            max_faces=arguments.max_faces,
            smoothing_s=arguments.smoothing,
        )
    with ExitStack() as stack:
        source = stack.enter_context(sources.open_source(arguments.source))
        sinks = [stack.enter_context(outputs.open_output(text, source.frame_rate)) for text in output_texts]
        run_stream(source, recognizer, sinks)
    return 0


def _check_outputs(source: str, texts: list[str]) -> None:
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
