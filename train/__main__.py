"""Train a model on FER2013: `python -m train cnn --recipe strong --data fer2013.csv`."""

import argparse
import hashlib
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, Field, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mien.native_log import prepare_tensorflow, quiet_native_log
from train.config import CHOICES, RECIPES, TrainingConfig, check_run, check_split, check_votes, config_of, read_run
from train.models import MODELS
from train.models.shapes import plain_shape

DESCRIPTION = """Train a model on FER2013, or fine-tune a published one on your own images, and write
model.keras, history.csv, figures and report.md into --out. Ctrl-C loses at most the epoch in hand,
--resume goes on. Each setting's default is that of the recipe; the one shown is the paper's."""

SETTINGS = {item.name for item in fields(TrainingConfig)}

PUBLISHED = Path(__file__).resolve().parent.parent / "models"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; a setting that was not given is absent, so that --resume can tell."""
    parser = argparse.ArgumentParser(
        prog="python -m train", description=DESCRIPTION, argument_default=argparse.SUPPRESS
    )
    parser.add_argument(
        "model", nargs="?", default=None, choices=MODELS, help="the network to train; `finder` has its own --help"
    )
    parser.add_argument("--list", action="store_true", help="show what each network costs, and leave")
    parser.add_argument("--data", help="fer2013.csv; the folder with train/ and test/; or your folders of images")
    parser.add_argument("--out", type=Path, help="folder for the run (default: runs/MODEL-RECIPE)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, with its settings")
    parser.add_argument("--start", type=Path, metavar="FILE", help="a .keras file to start from instead of chance")
    parser.add_argument("--fer-plus-votes", type=Path, metavar="FILE", help="FER+'s fer2013new.csv")
    parser.add_argument("--teacher", type=Path, nargs="+", metavar="RUN", help="finished runs to learn from, too")
    parser.add_argument("--tensorboard", action="store_true", help="also log for TensorBoard, in OUT/tensorboard")
    settings = parser.add_argument_group("settings")
    for item in fields(TrainingConfig):
        if item.name != "model":
            _add_setting(settings, item)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train; return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    prepare_tensorflow()
    if words[:1] == ["finder"]:
        from train.finder import command

        # Another task with other data, so its own options.
        return _report(lambda: command.main(words[1:]), lambda: (command.out_of(words[1:]) / "run.json").exists())
    parser = build_parser()
    arguments = parser.parse_args(words)
    options: dict[str, Any] = {"out": None, "resume": False, "start": None, "fer_plus_votes": None, "teacher": []}
    options |= {"tensorboard": False, **vars(arguments)}
    if not options.get("list") and (missing := [name for name in ("model", "data") if not options.get(name)]):
        what = "a model" if missing[0] == "model" else "--data"
        parser.error(f"give {what}: python -m train cnn --data fer2013.csv; or --list")
    if options.get("list"):
        forms = {name: options[name] for name in ("width", "shape") if name in options}
        return _report(lambda: _list(TrainingConfig(model="mien_net", **forms)), lambda: False)
    return _report(lambda: _train(options), lambda: options["out"] and (options["out"] / "run.json").exists())


def _report(work: Callable[[], int], is_begun: Callable[[], bool]) -> int:
    """Do the work; say in one line why it failed, if it did."""
    try:
        return work()
    except KeyboardInterrupt:
        print(f"\nstopped{': --resume goes on after the last whole epoch' if is_begun() else ''}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed: script/setup train brings all that training on TensorFlow needs",
            file=sys.stderr,
        )
        return 1
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _add_setting(group: Any, item: "Field[Any]") -> None:
    assert item.default is not MISSING
    flag, kind, text = f"--{item.name.replace('_', '-')}", type(item.default), item.metadata["help"]
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
    elif item.name in CHOICES:
        group.add_argument(flag, choices=CHOICES[item.name], help=f"{text} (default: {item.default})")
    else:
        group.add_argument(flag, type=kind, help=f"{text} (default: {item.default})", metavar="N")


def _list(config: TrainingConfig) -> int:
    with quiet_native_log():
        from train.complexity import table
    print(table(config.width, config.shape))
    return 0


def _train(options: dict[str, Any]) -> int:
    from mien.own_images import load_data
    from train.scarce import scarce_classes

    # Settings come before the data: finding them wrong should not take a minute of loading.
    config = settle(options)
    out, start = options["out"], options["start"]
    teachers = {str(run): run / "model.keras" for run in options["teacher"]}
    facts: dict[str, Any] = _hashes(start=start, votes=options["fer_plus_votes"])
    facts["teachers_sha256"] = list(_hashes(**teachers).values()) or None
    facts |= {name: options[name] and str(options[name]) for name in ("start", "fer_plus_votes")}
    facts["teacher"] = [str(run) for run in options["teacher"]]
    check_votes(config, options["fer_plus_votes"])
    check_run(out, config, facts, options["resume"])
    data = load_data(options["data"])
    if start_run := _run_of(start):
        check_split(start_run, config, data.sha256)

    with quiet_native_log():
        import keras

        with suppress(ModuleNotFoundError):
            import_module("tensorflow")  # whatever the backend, Keras imports it sooner or later, and it talks
        from train.batches import divide
        from train.distillation import distil
        from train.fer_plus import read_votes
        from train.report import write_report
        from train.training import train

        keras.ops.zeros(1)  # makes TensorFlow look for a GPU, and say so, now
    votes = read_votes(options["fer_plus_votes"], data) if options["fer_plus_votes"] else None
    sides = divide(data, config, votes)
    for sentence in scarce_classes(sides.training, has_start=start is not None):
        print(f"note: {sentence}")
    print(f"{len(sides.training):,} images to learn from, {len(sides.validation):,} to validate on")
    if start:
        print(f"starting from {start}")
    if options["teacher"]:
        sides = distil(sides, options["teacher"], config, out, data.sha256, options["resume"])
    facts = {"data_sha256": data.sha256, **facts, "backend": keras.backend.backend()}
    model = train(sides, config, out, facts, options["resume"], start, options["tensorboard"])
    print(write_report(model, data, sides, config, command_of(config, options), start))
    return 0


def settle(options: dict[str, Any]) -> TrainingConfig:
    """Return the settings that a command line amounts to; put into it which folder and start that means."""
    from mien.own_images import is_own_folder

    recipe = options.get("recipe", "fine-tune" if is_own_folder(Path(options["data"])) else "paper")
    options["out"] = options["out"] or Path("runs") / f"{options['model']}-{recipe}"
    config = RECIPES[recipe]
    if options["resume"]:
        run = read_run(options["out"])
        config = config_of(run)
        for name in ("start", "fer_plus_votes"):
            options[name] = options[name] or (run.get(name) and Path(run[name]))
        options["teacher"] = options["teacher"] or [Path(teacher) for teacher in run.get("teacher", [])]
    config = replace(config, **{name: options[name] for name in SETTINGS if name in options})
    options["start"] = options["start"] or (_published(config) if config.recipe == "fine-tune" else None)
    if start_run := _run_of(options["start"]):
        started = config_of(read_run(start_run))
        if "width" not in options:
            config = replace(config, width=started.width)
        if "shape" not in options and started.model == config.model:
            config = replace(config, shape=plain_shape(started.shape))
    return config


def command_of(config: TrainingConfig, options: dict[str, Any]) -> str:
    """Return the command that repeats a run, with PATH for the data."""
    recipe = RECIPES[config.recipe]
    words = ["python", "-m", "train", config.model, "--recipe", config.recipe, "--data", "PATH"]
    for item in fields(TrainingConfig):
        value, flag = getattr(config, item.name), item.name.replace("_", "-")
        if item.name not in ("model", "recipe") and value != getattr(recipe, item.name):
            words += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    for name in ("fer_plus_votes", "start"):
        words += [f"--{name.replace('_', '-')}", str(options[name])] if options[name] else []
    words += ["--teacher", *map(str, options["teacher"])] if options["teacher"] else []
    backend = os.environ.get("KERAS_BACKEND")
    return f"{f'KERAS_BACKEND={backend} ' if backend else ''}{shlex.join(words)}"


def _published(config: TrainingConfig) -> Path:
    """Return the file of our best model of this network."""
    path = PUBLISHED / config.model / "model.keras"
    if not path.exists():
        raise FileNotFoundError(f"no published model at {path} to fine-tune: give one with --start FILE")
    return path


def _run_of(model: Path | None) -> Path | None:
    """Return the folder of the run that a model came from, if its settings are there."""
    return model.parent if model and (model.parent / "run.json").exists() else None


def _hashes(**files: Path | None) -> dict[str, str | None]:
    """Return the files' hashes for `run.json`, None for a file that was not given."""
    if missing := [path for path in files.values() if path and not path.is_file()]:
        raise FileNotFoundError(f"no file at {missing[0]}")
    return {
        f"{name}_sha256": hashlib.sha256(path.read_bytes()).hexdigest() if path else None
        for name, path in files.items()
    }


if __name__ == "__main__":
    sys.exit(main())
