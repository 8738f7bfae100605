"""The command line of `python -m convert RUN` for a face finder."""

import argparse
import json
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from mien.native_log import quiet_native_log


def is_finder(model: Path) -> bool:
    """Return whether a run's folder, or a `.keras` file, holds a face finder: by the name of the network in it."""
    file = model / "model.keras" if model.is_dir() else model
    try:
        with ZipFile(file) as archive:
            return bool(json.loads(archive.read("config.json"))["config"]["name"] == "finder")
    except (OSError, BadZipFile, ValueError, KeyError, TypeError):
        return False


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of a face finder's conversion."""
    parser = argparse.ArgumentParser(
        prog="python -m convert",
        description="Write finder_int8.tflite and finder_float32.tflite with their cards, and conversion.md: each file "
        "is run in every TFLite runtime here, and int8 may lose --max-drop of average precision.",
    )
    parser.add_argument("model", type=Path, help="a run of `python -m train finder`")
    parser.add_argument("--data", type=Path, required=True, help="folder with faces.csv, negatives.csv and images")
    parser.add_argument(
        "--crops", type=Path, help="fer2013.csv, to fit the crop on (default: the crop of --out's card)"
    )
    parser.add_argument("--out", type=Path, help="folder for the files (default: beside the model)")
    parser.add_argument("--calibration-size", type=int, default=200, help="photographs in all (default: 200)")
    parser.add_argument("--max-drop", type=float, default=0.01, help="average precision to lose (default: 0.01)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--licence", default="", metavar="SPDX", help="of the files, for their cards: Apache-2.0, ...")
    return parser


def convert_run(words: list[str]) -> int:
    """Convert; return the exit code. What is raised, `convert.__main__` reports."""
    parser = build_parser()
    arguments = parser.parse_args(words)
    if not arguments.max_drop >= 0 or arguments.seed < 0:
        parser.error(f"--max-drop {arguments.max_drop}, --seed {arguments.seed}: allowed are 0 or more")
    with quiet_native_log():
        from convert.finder.conversion import convert_finder
        from convert.finder.report import table, write_report
        from convert.finder.results import FinderSettings
        from convert.progress import ConversionProgress
    keras_file = arguments.model / "model.keras" if arguments.model.is_dir() else arguments.model
    out = arguments.out or keras_file.parent
    settings = FinderSettings(
        arguments.data,
        arguments.crops,
        arguments.calibration_size,
        arguments.max_drop,
        arguments.seed,
        arguments.licence,
    )
    with ConversionProgress() as progress:
        conversion = convert_finder(keras_file, settings, out, progress)
    report = write_report(conversion, ["python", "-m", "convert", *words], out)
    print(table(conversion), end="\n\n")
    if conversion.refused:
        raise ValueError(f"{conversion.refused}. {report} has the figures; no other file was written")
    for variant in conversion.files.contents:
        print(out / f"finder_{variant}.tflite")
    print(report)
    return 0
