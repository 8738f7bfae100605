"""Convert a trained model: `python -m convert runs/cnn --data fer2013.csv`, or look into one: `inspect FILE.tflite`."""

import argparse
import sys
from pathlib import Path

from convert.finder.command import convert_run, is_finder
from convert.settings import METHODS, STATIC, VARIANTS, Settings
from mien.native_log import prepare_tensorflow, quiet_native_log

FEW_IMAGES = 200


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of a conversion."""
    parser = argparse.ArgumentParser(
        prog="python -m convert",
        description="Write .tflite files with their cards, and conversion.md that compares them: each one is run in "
        "every TFLite runtime here before it gets its name. Int8 comes from post-training quantization with a seeded, "
        "class-balanced subset of Training.",
        epilog="A run of `python -m train finder` has options of its own: python -m convert RUN --help. python -m "
        "convert inspect FILE.tflite shows operators, shapes, quantization and multiply-adds.",
    )
    parser.add_argument("model", type=Path, help="a run of `python -m train`, or a .keras or .h5 file")
    parser.add_argument(
        "--data", required=True, help="fer2013.csv, the folder with train/ and test/, or a folder for each class"
    )
    parser.add_argument("--out", type=Path, help="folder for the files (default: beside the model)")
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:4], help="(default: all but int16x8)", metavar="V"
    )
    parser.add_argument("--calibration-size", type=int, default=490, help="images in all (default: 490)")
    parser.add_argument("--calibration", choices=METHODS, default=METHODS[0], help="(default: min-max)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of these images (default: 0)")
    parser.add_argument(
        "--max-drop", type=float, default=0.5, help="points of accuracy that a file may lose (default: 0.5)"
    )
    parser.add_argument("--keep-float", nargs="+", default=[], metavar="LAYER", help="layers that int8 leaves alone")
    parser.add_argument("--licence", default="", metavar="SPDX", help="of the files, for their cards: Apache-2.0, ...")
    parser.add_argument("--debug", action="store_true", help="rank the layers by what int8 loses, with a plot")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Convert or inspect; return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        if words[:1] == ["inspect"]:
            return _inspect(words[1:])
        prepare_tensorflow()
        if any(is_finder(Path(word)) for word in words if not word.startswith("-")):
            return convert_run(words)
        return _convert(_parse(words), words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed: script/setup train brings all that converting needs",
            file=sys.stderr,
        )
        return 1
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parse(words: list[str]) -> argparse.Namespace:
    parser = build_parser()
    arguments = parser.parse_args(words)
    if not arguments.max_drop >= 0:
        parser.error(f"--max-drop {arguments.max_drop}: allowed is 0 or more points of accuracy")
    if arguments.seed < 0:
        parser.error(f"--seed {arguments.seed}: allowed is 0 or more")
    if arguments.debug and "int8" not in arguments.variants:
        parser.error("--debug ranks the layers of int8: put it among the --variants")
    if arguments.keep_float and not set(arguments.variants) & set(STATIC):
        parser.error(f"--keep-float is for {' and '.join(STATIC)}: put one among the --variants")
    return arguments


def _inspect(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m convert inspect",
        description="Show operators, shapes, quantization, multiply-adds and memory of a .tflite file.",
    )
    parser.add_argument("file", type=Path)
    file = parser.parse_args(words).file
    from convert.inspection import inspect

    if not file.is_file():
        raise FileNotFoundError(f"no file at {file}: give a .tflite file")
    try:
        print(inspect(file.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return 0


def _convert(arguments: argparse.Namespace, words: list[str]) -> int:
    keras_file = arguments.model / "model.keras" if arguments.model.is_dir() else arguments.model
    out = arguments.out or keras_file.parent
    if not keras_file.is_file():
        raise FileNotFoundError(f"no model at {keras_file}: give a run of `python -m train` or a .keras file")
    settings = Settings(
        variants=tuple(variant for variant in VARIANTS if variant in arguments.variants),
        method=arguments.calibration,
        keep_float=tuple(arguments.keep_float),
        max_drop=arguments.max_drop,
        seed=arguments.seed,
        licence=arguments.licence,
    )
    with quiet_native_log():
        from convert.calibration import draw_calibration
        from convert.confidence import validation_rows
        from convert.conversion import convert
        from convert.debugging import measure_layer_errors, plot
        from convert.debugging import table as layer_table
        from convert.keras_model import load
        from convert.pictures import load_pictures
        from convert.progress import ConversionProgress
        from convert.report import table, write_report

    with ConversionProgress() as progress:
        progress.stage("loading the model")
        with quiet_native_log():
            model = load(keras_file)
        progress.stage("loading the data")
        pictures = load_pictures(arguments.data, model.inputs[0].shape[1:], model.outputs[0].shape[1])
        validation = validation_rows(keras_file.parent, pictures)
        calibration = draw_calibration(pictures, arguments.calibration_size, arguments.seed, validation)
        out.mkdir(parents=True, exist_ok=True)
        conversion = convert(model, keras_file, pictures, calibration, settings, out, progress)
    report = write_report(conversion, ["python", "-m", "convert", *words], out)
    print(table(conversion), end="\n\n")
    if len(conversion.images) < FEW_IMAGES:
        print(f"note: there were only {len(conversion.images)} images to compare the files on: the proof is weak")
    if not conversion.is_own_validation:
        print(f"note: no run on these data beside {keras_file}: confidences stay as they are, never unsure")
    if arguments.debug:
        int8 = next(variant.content for variant in conversion.variants if variant.name == "int8")
        if int8:
            with quiet_native_log():
                errors = measure_layer_errors(conversion.float32, int8, conversion.images)
            print(layer_table(errors), end="\n\n")
            plot(errors, out / "quantization_error.png")
            print(out / "quantization_error.png")
    if conversion.refused:
        raise ValueError(f"{conversion.refused}. {report} has the figures; no other file was written")
    for variant in conversion.variants:
        file = out / f"{variant.stem}.tflite"
        if variant.is_proven:
            print(file)
        for runtime, reason in variant.failures.items():
            older = " (an older file of that name is there)" if file.exists() else ""
            print(f"not written{older}: {file}: {runtime}: {reason}", file=sys.stderr)
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
