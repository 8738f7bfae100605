"""Train a model on FER2013: `python -m train cnn --data fer2013.csv --out runs/cnn`."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from mien.fer2013 import load_fer2013
from mien.native_log import quiet_native_log
from train.config import SCHEDULES, TrainingConfig
from train.models import MODELS

DESCRIPTION = """Train a model on FER2013. The defaults are the paper's protocol. Writes model.keras,
history.csv and history.png into --out; Ctrl-C loses at most the epoch in hand, --resume goes on."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the numbers' defaults are those of TrainingConfig."""
    default = TrainingConfig()
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description=DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", choices=list(MODELS), help="the network to train")
    parser.add_argument(
        "--data", required=True, help="fer2013.csv, or the folder with train/ and test/", default=argparse.SUPPRESS
    )
    parser.add_argument("--out", help="folder for the run (default: runs/MODEL)", default=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--batch-size", type=int, default=default.batch_size)
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--schedule", choices=SCHEDULES, default=default.schedule)
    parser.add_argument("--validation-share", type=float, default=default.validation_share)
    parser.add_argument("--rotation-degrees", type=float, default=default.rotation_degrees)
    parser.add_argument("--zoom", type=float, default=default.zoom)
    parser.add_argument("--shift", type=float, default=default.shift)
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 arithmetic, twice as fast")
    parser.add_argument("--seed", type=int, default=default.seed)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train; return the exit code."""
    arguments = build_parser().parse_args(argv)
    out = Path(getattr(arguments, "out", f"runs/{arguments.model}"))
    try:
        config = TrainingConfig(**{field.name: getattr(arguments, field.name) for field in fields(TrainingConfig)})
        return _train(config, arguments.data, out, arguments.resume)
    except KeyboardInterrupt:
        print(f"stopped: --resume --out {out} goes on after the last whole epoch", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _train(config: TrainingConfig, data_path: str, out: Path, resume: bool) -> int:
    data = load_fer2013(data_path)
    with quiet_native_log():
        import keras

        from train.training import read_history, train

        keras.ops.zeros(1)  # makes TensorFlow look for a GPU, and say so, now
    from train.plots import plot_history

    model = train(data, config, out, resume)
    history = read_history(out / "history.csv")
    plot_history(history, f"{config.model} on FER2013", out / "history.png")
    best = max(history, key=lambda row: row["val_accuracy"])
    print(f"{model}: validation accuracy {best['val_accuracy']:.1%} after epoch {best['epoch']:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
