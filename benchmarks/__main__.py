"""Measure: `python -m benchmarks accuracy --data fer2013.csv`; also robustness, latency, pipeline, detection, ..."""

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks import accuracy, latency, pareto
from benchmarks.machine import describe, machine_card
from mien.card import find_model
from mien.config import Config, load_settings
from mien.native_log import prepare_tensorflow
from mien.published import find_published


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure mien on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="BENCHMARK")

    command = commands.add_parser("accuracy", help="accuracy and macro F1 on the test images, float and int8")
    command.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    command.add_argument("--update-cards", action="store_true", help="write the figures into the models' cards")
    command.set_defaults(function=_accuracy)
    _add_common(command)

    command = commands.add_parser("robustness", help="accuracy under what cameras and detectors do to faces")
    command.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    command.add_argument("--images", type=int, metavar="N", help="test images, drawn at random (default: all)")
    command.set_defaults(function=_robustness)
    _add_common(command)

    command = commands.add_parser("pareto", help="accuracy against latency; without --runs redrawn from the results")
    command.add_argument("--runs", type=Path, nargs="+", metavar="RUN", help="converted runs to measure anew")
    command.add_argument("--results", type=Path, default=pareto.RESULTS, metavar="FILE", help="JSON (default: ours)")
    command.add_argument("--plot", type=Path, default=pareto.PLOT, metavar="FILE", help="PNG (default: ours)")
    command.set_defaults(function=_pareto)

    command = commands.add_parser("latency", help="milliseconds a face, by number of threads")
    command.add_argument("--threads", type=int, nargs="+", metavar="N", help="default: 1 and all cores")
    command.add_argument("--seconds", type=float, default=3, help="a measurement (default: 3)")
    command.set_defaults(function=_latency)
    _add_common(command)

    command = commands.add_parser("pipeline", help="what a run costs: frames/s, each stage, latency, memory")
    command.add_argument("--source", default="demo", metavar="CLIP", help="a video file (default: demo)")
    command.add_argument("--threads", default=str(Config.threads), metavar="N", help=f"default: {Config.threads}")
    command.add_argument("--detector", default=Config.detector, help="haar, yunet or auto (default)")
    command.add_argument("--frames", type=int, default=300, metavar="N", help="of the clip, at most (default: 300)")
    command.add_argument(
        "--memory-frames", type=int, default=2000, metavar="N", help="for which memory is watched (default: 2000)"
    )
    _add_json(command)
    command.set_defaults(function=_pipeline)

    command = commands.add_parser("detection", help="faces found on photographs, with and without spectacles")
    command.add_argument("--photos", type=Path, required=True, metavar="DIR", help="with photos.csv in it or beside it")
    command.add_argument("--no-faces", type=Path, metavar="DIR", help="pictures without a face, for false boxes")
    _add_json(command)
    command.set_defaults(function=_detection)

    command = commands.add_parser("crop-margin", help="how FER2013's faces are cut, seen by a Haar cascade")
    command.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    command.add_argument("--images", type=int, default=1500, help="of Training (default: 1500)")
    command.set_defaults(function=_crop_margin)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one benchmark; return the exit code."""
    prepare_tensorflow()
    arguments = build_parser().parse_args(argv)
    try:
        if (path := getattr(arguments, "json", None)) and not path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; make it first")
        return int(arguments.function(arguments))
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--models", nargs="+", metavar="MODEL", help="names or files (default: all of ours)")
    _add_json(command)


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", type=Path, metavar="FILE", help="write the results for programs, too")


def _models(arguments: argparse.Namespace) -> list[Path]:
    if not arguments.models:
        return accuracy.find_models()
    models = [Path(model) if model.endswith(".keras") else find_model(model) for model in arguments.models]
    if missing := [model for model in models if not model.exists()]:
        raise FileNotFoundError(f"no model at {missing[0]}: give .keras or .tflite files, or names of `mien models`")
    return models


def _measurable(arguments: argparse.Namespace) -> list[Path]:
    """Return the models without those that nothing here can run."""
    models = _models(arguments)
    if find_spec("tensorflow") is None:
        for model in [model for model in models if model.suffix == ".keras"]:
            print(f"{model} needs TensorFlow, which is not installed: left out", file=sys.stderr)
            models.remove(model)
    if not models:
        raise ValueError("there is no model to measure here: give --models, or script/setup train for .keras files")
    return models


def _accuracy(arguments: argparse.Namespace) -> int:
    from mien.fer2013 import load_fer2013

    models = _measurable(arguments)
    data = load_fer2013(arguments.data)
    results = []
    for model in models:
        print(f"measuring {model.name} ...", file=sys.stderr)
        results.append(accuracy.measure_accuracy(model, data))
    print(accuracy.table(results))
    print("\n.tflite models answer at the temperature of their cards, Keras models as they were trained.")
    _write_json(arguments.json, results)
    if arguments.update_cards:
        for model, result in zip(models, results, strict=True):
            if model.suffix == ".tflite":
                accuracy.update_card(model, result)
    return 0


def _robustness(arguments: argparse.Namespace) -> int:
    from benchmarks.robustness import choose_images, measure_robustness, table
    from mien.fer2013 import load_fer2013

    if arguments.images is not None and arguments.images < 1:
        raise ValueError(f"--images {arguments.images} must be 1 or more")
    models = _measurable(arguments)
    results = measure_robustness(models, choose_images(load_fer2013(arguments.data), arguments.images))
    print(table(results))
    _write_json(arguments.json, results)
    return 0


def _pareto(arguments: argparse.Namespace) -> int:
    if arguments.runs:
        results = pareto.measure_runs(arguments.runs)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        _write_json(arguments.results, results)
    else:
        results = pareto.read_results(arguments.results)
    print(pareto.table(results))
    pareto.plot(results, arguments.plot)
    print(f"\n{arguments.plot}")
    return 0


def _latency(arguments: argparse.Namespace) -> int:
    threads = arguments.threads or sorted({1, os.cpu_count() or 1})
    models = [model for model in _models(arguments) if model.suffix != ".keras"]
    if not models:
        raise ValueError("latency is that of .tflite models: convert the .keras ones first")
    results = [latency.measure_latency(model, count, arguments.seconds) for model in models for count in threads]
    print(describe(machine_card()), end="\n\n")
    print(latency.table(results))
    _write_json(arguments.json, {"machine": machine_card(), "results": results})
    return 0


def _pipeline(arguments: argparse.Namespace) -> int:
    from benchmarks.pipeline import measure_pipeline, table

    for flag, count, least in (("--frames", arguments.frames, 2), ("--memory-frames", arguments.memory_frames, 1)):
        if count < least:
            raise ValueError(f"{flag} {count} must be {least} or more")
    flags = {name: getattr(arguments, name) for name in ("source", "threads", "detector")}
    config = load_settings(flags, environment={}).config
    print("measuring, which takes a minute or two ...", file=sys.stderr)
    result = measure_pipeline(config, arguments.frames, arguments.memory_frames)
    print(describe(machine_card()), end="\n\n")
    print(table(result))
    _write_json(arguments.json, {"machine": machine_card(), **result})
    return 0


def _detection(arguments: argparse.Namespace) -> int:
    from benchmarks.detection import make_detectors, measure_detection, table

    detectors = make_detectors()
    print(f"measuring {len(detectors)} detectors, which takes minutes ...", file=sys.stderr)
    results = measure_detection(detectors, arguments.photos, arguments.no_faces)
    print(describe(machine_card()), end="\n\n")
    print(table(results))
    if find_published("yunet") is None:
        print("\nYuNet was not measured: `mien models fetch yunet` brings its model.")
    _write_json(arguments.json, {"machine": machine_card(), "results": results})
    return 0


def _crop_margin(arguments: argparse.Namespace) -> int:
    from benchmarks.crop_margin import measure_crop_margin
    from mien.fer2013 import load_fer2013

    data = load_fer2013(arguments.data)
    figures = measure_crop_margin(data, arguments.images)
    print(
        f"finds {figures['found']:.0%}, box of {figures['side']:.1f} of 48 pixels "
        f"centred at ({figures['centre_x']:.1f}, {figures['centre_y']:.1f}): margin {figures['margin']:.3f}"
    )
    return 0


def _write_json(path: Path | None, content: object) -> None:
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
