"""Which models a benchmark measures: the ones that are named, or all of ours."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from mien.card import FINDER, MODELS_DIR, find_model

PUBLISHED = Path(__file__).resolve().parent.parent / "models"


def find_models() -> list[Path]:
    """Return the files of all our classifiers: float Keras, float TFLite, and int8 from the package."""
    files = [
        *sorted(PUBLISHED.rglob("*.keras")),
        *sorted(PUBLISHED.rglob("*.tflite")),
        *sorted(MODELS_DIR.glob("*.tflite")),
    ]
    return [file for file in files if file.parent.name != "finder" and file.stem != FINDER]


def add_models_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--models`."""
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="names or files (default: all of ours)")


def chosen_models(arguments: argparse.Namespace, keras: bool) -> list[Path]:
    """Return the files that `--models` names, or all of ours, without those that nothing here can run.

    Args:
        arguments: with `models`.
        keras: whether `.keras` files can be measured, where TensorFlow is installed.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a name is unknown, or no model is left.
    """
    models = [_find(model) for model in arguments.models] if arguments.models else find_models()
    if keras and find_spec("tensorflow") is not None:
        return models
    left = [model for model in models if model.suffix != ".keras"]
    if keras and len(left) < len(models):
        print(f"{len(models) - len(left)} .keras files need TensorFlow, which is not installed", file=sys.stderr)
    if not left:
        raise ValueError(
            "no model is left to measure: give .tflite files (`python -m convert` makes them of .keras ones)"
        )
    return left


def _find(model: str) -> Path:
    if not model.endswith(".keras"):
        return find_model(model)
    if not Path(model).is_file():
        raise FileNotFoundError(f"no model at {model}: give .keras or .tflite files, or names of `mien models`")
    return Path(model)
