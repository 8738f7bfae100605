"""How many calibration images int8 needs: `python -m convert.calibration_study models/mien_net --data fer2013.csv`.

Accuracy of the int8 file on the run's validation images against the size of the representative dataset, with several
seeds, in the runtime of this environment.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from convert.settings import METHODS
from mien.native_log import prepare_tensorflow, quiet_native_log

SIZES = (7, 14, 28, 56, 112, 231, 490, 980, 1960)
SEEDS = 5
RESULTS = Path("benchmarks/results/search/calibration.json")
PLOT = Path("docs/images/calibration.png")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="python -m convert.calibration_study", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="*", help="runs of `python -m train`; none: redraw from the results")
    parser.add_argument("--data", help="fer2013.csv, or the folder with train/ and test/")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[METHODS[0]], help="(default: min-max)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"(default: {SEEDS})")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON; what it has of other runs stays")
    parser.add_argument("--plot", type=Path, default=PLOT, help="PNG")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, write results and plot."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.seeds < 2:
        parser.error(f"--seeds {arguments.seeds}: allowed is 2 or more, for a spread")
    if arguments.runs and not arguments.data:
        parser.error("the following arguments are required: --data")
    prepare_tensorflow()
    try:
        results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
        for run in arguments.runs:
            for method in arguments.methods:
                key = run.name if method == METHODS[0] else f"{run.name}, {method}"
                results[key] = measure_run(run, arguments.data, method, arguments.seeds)
        arguments.results.write_text(json.dumps(results, indent=1) + "\n")
        print(table(results))
        plot(results, arguments.plot)
        print(f"\n{arguments.plot}")
    except KeyboardInterrupt:
        return 1
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def measure_run(run: Path, data: str, method: str, seeds: int) -> dict[str, Any]:
    """Return {"float": accuracy, "images": count, "sizes": {size: [accuracy of each seed]}, "agreement": likewise}."""
    with quiet_native_log():
        from convert.calibration import draw_calibration
        from convert.confidence import validation_rows
        from convert.keras_model import load
        from convert.pictures import load_pictures
        from convert.quantization import measure_ranges, quantize, to_float32
        from mien.interpreter import TFLiteModel

        model = load(run / "model.keras")
        float32 = to_float32(model)
    pictures = load_pictures(data, model.inputs[0].shape[1:], model.outputs[0].shape[1])
    rows = validation_rows(run, pictures)
    if rows is None:
        raise ValueError(f"{run} has no validation images in {data}: give a run of `python -m train` and its data")
    images, labels = pictures.read(rows), pictures.labels[rows]
    with quiet_native_log():
        expected = TFLiteModel(float32).predict(images).argmax(axis=1)
    accuracy: dict[str, list[float]] = {}
    agreement: dict[str, list[float]] = {}
    for size in SIZES:
        for seed in range(seeds):
            calibration = draw_calibration(pictures, size, seed, rows)
            with quiet_native_log():
                ranges = measure_ranges(float32, calibration.images, method)
                answers = TFLiteModel(quantize(float32, "int8", ranges)).predict(images).argmax(axis=1)
            accuracy.setdefault(str(size), []).append(round(float((answers == labels).mean()), 5))
            agreement.setdefault(str(size), []).append(round(float((answers == expected).mean()), 5))
        print(f"{run.name}, {method}, {size} images: {np.mean(accuracy[str(size)]):.2%}", file=sys.stderr)
    return {
        "float": round(float((expected == labels).mean()), 5),
        "images": len(labels),
        "accuracy": accuracy,
        "agreement": agreement,
    }


def table(results: dict[str, Any]) -> str:
    """Return mean and standard deviation over the seeds as a Markdown table."""
    floats = [f"{100 * entry['float']:.2f}" for entry in results.values()]
    lines = [
        f"| calibration images | {' | '.join(results)} |",
        "|---" * (len(results) + 1) + "|",
        f"| float32 | {' | '.join(floats)} |",
    ]
    for size in map(str, SIZES):
        cells = [
            f"{100 * np.mean(entry['accuracy'][size]):.2f} ± {100 * np.std(entry['accuracy'][size], ddof=1):.2f}"
            f" ({np.mean(entry['agreement'][size]):.1%})"
            for entry in results.values()
        ]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw what int8 loses against float32, with error bars over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    for number, (name, entry) in enumerate(results.items()):
        sizes = [int(size) * (1 + 0.03 * number) for size in entry["accuracy"]]  # side by side, not on each other
        lost = [100 * (np.array(values) - entry["float"]) for values in entry["accuracy"].values()]
        spread = [np.std(values, ddof=1) for values in lost]
        axes.errorbar(sizes, [np.mean(values) for values in lost], spread, marker="o", capsize=3, label=name)
    axes.axhline(0, color="gray", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    axes.minorticks_off()
    axes.set_xlabel("calibration images")
    axes.set_ylabel("points of accuracy against float32")
    axes.set_title("Int8 on validation images; bars: standard deviation over the seeds")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
