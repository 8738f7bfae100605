"""Train a model on FER2013: `python -m train cnn --data fer2013.csv --out runs/cnn`."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

from mien.fer2013 import load_fer2013
from mien.native_log import quiet_native_log
from train.config import SCHEDULES, TrainingConfig, read_run
from train.models import MODELS

SETTINGS = {field.name for field in fields(TrainingConfig)}

DESCRIPTION = """Train a model on FER2013. The defaults are the paper's protocol. Writes model.keras,
history.csv and history.png into --out; Ctrl-C loses at most the epoch in hand, --resume goes on."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; an option that was not given is absent, so that --resume can tell."""
    parser = argparse.ArgumentParser(
        prog="python -m train", description=DESCRIPTION, argument_default=argparse.SUPPRESS
    )
    default = TrainingConfig()
    parser.add_argument("model", choices=MODELS, help="the network to train")
    parser.add_argument("--data", required=True, help="fer2013.csv, or the folder with train/ and test/")
    parser.add_argument("--out", type=Path, help="folder for the run (default: runs/MODEL)")
    parser.add_argument(
        "--resume", action="store_true", default=False, help="continue the run in --out, with its settings"
    )
    for name, kind, text in (
        ("epochs", int, ""),
        ("batch_size", int, ""),
        ("learning_rate", float, "of Adam"),
        ("validation_share", float, "of Training, to validate on"),
        ("rotation_degrees", float, "to either side"),
        ("zoom", float, "as a fraction, in and out"),
        ("shift", float, "as a fraction of the side"),
        ("seed", int, ""),
    ):
        help_text = f"{text} (default: {getattr(default, name)})".strip()
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=help_text, metavar="N")
    parser.add_argument(
        "--schedule", choices=SCHEDULES, help=f"of the learning rate; cosine: to zero (default: {default.schedule})"
    )
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 arithmetic, often faster")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train; return the exit code."""
    arguments = build_parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    out = getattr(arguments, "out", Path("runs") / arguments.model)
    given = {name: value for name, value in vars(arguments).items() if name in SETTINGS}
    try:
        before = read_run(out) if arguments.resume else {}
        config = TrainingConfig(**{**{name: before[name] for name in SETTINGS & before.keys()}, **given})
        return _train(config, arguments.data, out, arguments.resume)
    except KeyboardInterrupt:
        if (out / "run.json").exists():
            print(f"\nstopped: --resume --out {out} goes on after the last whole epoch", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed: script/setup train brings all that training needs", file=sys.stderr
        )
        return 1
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
