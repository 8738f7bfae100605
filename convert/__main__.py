"""Convert a trained model to TFLite: `python -m convert runs/cnn --data fer2013.csv`."""

import argparse
import sys
from pathlib import Path

from mien.native_log import prepare_tensorflow, quiet_native_log

PROOF_IMAGES = 500


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m convert",
        description="Write float32 and int8 .tflite files with their cards. Int8 comes from post-training "
        "quantization with a seeded, class-balanced subset of Training.",
    )
    parser.add_argument("model", type=Path, help="a run of `python -m train`, or a .keras file")
    parser.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    parser.add_argument("--out", type=Path, help="folder for the files (default: beside the model)")
    parser.add_argument("--calibration-size", type=int, default=490, help="images in all (default: 490)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of these images (default: 0)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Convert; return the exit code."""
    arguments = build_parser().parse_args(argv)
    prepare_tensorflow()
    keras_file = arguments.model / "model.keras" if arguments.model.is_dir() else arguments.model
    out = arguments.out or keras_file.parent
    try:
        return _convert(keras_file, arguments, out)
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed: script/setup train brings all that converting needs",
            file=sys.stderr,
        )
        return 1
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _convert(keras_file: Path, arguments: argparse.Namespace, out: Path) -> int:
    import numpy as np

    from convert.calibration import draw_calibration
    from convert.confidence import validation_images
    from mien.fer2013 import load_fer2013

    with quiet_native_log():
        from convert.conversion import convert

    if not keras_file.exists():
        raise FileNotFoundError(f"no model at {keras_file}: give a run of `python -m train` or a .keras file")
    data = load_fer2013(arguments.data)
    calibration = draw_calibration(data, arguments.calibration_size, arguments.seed)
    others = np.setdiff1d(np.flatnonzero(data.usages == 0), calibration.rows)
    proof = np.random.default_rng(arguments.seed).permutation(others)[:PROOF_IMAGES]
    validation = validation_images(keras_file.parent, data)
    if validation is None:
        print(f"note: no run on these data beside {keras_file}: confidences stay as they are, never unsure")
    out.mkdir(parents=True, exist_ok=True)
    for file in convert(keras_file, calibration, data.images[proof], out, validation):
        print(
            f"{file.path}: {file.size_bytes / 1e6:.2f} MB, agrees with Keras on {file.agreement:.1%} "
            f"of {len(proof)} Training images, probabilities off by {file.difference:.3f}, "
            f"runs in {', '.join(file.runtimes)}"
        )
        if chosen := file.confidence:
            print(
                f"  temperature {chosen.temperature}: calibration error {chosen.error:.3f} on the run's "
                f"{len(validation or ()):,} validation images, {chosen.error_before:.3f} without"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
