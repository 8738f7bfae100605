"""One run's settings, checked when they are made, and the recipes that name good ones."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mien.files import write_text_whole
from train.models import MODELS
from train.models.shapes import SHAPES

CHECKPOINT = "checkpoint.npz"
RUN_FILES = ("run.json", CHECKPOINT)
FACTS = {
    "data_sha256": "file or folder in --data",
    "start_sha256": "--start",
    "votes_sha256": "--fer-plus-votes",
    "teachers_sha256": "--teacher",
    "backend": "KERAS_BACKEND",
}
"""What a run depends on besides its settings: the key in `run.json`, and where it was given."""

CHOICES = {
    "model": MODELS,
    "shape": tuple(SHAPES),
    "recipe": ("paper", "strong", "fine-tune"),
    "optimizer": ("adam", "sgd"),
    "schedule": ("constant", "cosine"),
    "judged_by": ("accuracy", "loss"),
    "imbalance": ("none", "class-weights", "balanced-sampling", "logit-adjustment"),
    "fer_plus": ("none", "soft", "filter"),
}
POSITIVE = ("epochs", "batch_size", "learning_rate", "width")
MAX_WIDTH = 4.0
"""A wider one is a typing mistake: ResEmoteNet would have over a billion parameters."""
SHARES = (
    *("label_smoothing", "teacher_share", "ema", "erasing", "live", "brightness", "contrast", "zoom", "shift"),
    *("small_share", "warmup_share"),
)


def setting(default: Any, text: str) -> Any:
    """Return a dataclass field with the line that `--help` shows for it."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainingConfig:
    """One run's settings; the defaults are the paper's protocol."""

    model: str = setting("cnn", "the network to train")
    width: float = setting(1.0, "factor on the network's filters; 1.0 is the published network")
    shape: str = setting("base", "of mien_net: how its blocks are arranged")
    recipe: str = setting("paper", "the settings to start from")
    seed: int = setting(0, "of everything random: split, order, weights, augmentation, dropout")
    validation_share: float = setting(0.2, "of Training, to validate on")
    judged_by: str = setting("accuracy", "what says which epoch is kept; loss varies less by chance")
    mixed_precision: bool = setting(False, "bfloat16 arithmetic with float32 weights, often faster")

    epochs: int = setting(50, "how often each image is seen")
    batch_size: int = setting(64, "images a step")
    optimizer: str = setting("adam", "sgd has Nesterov momentum 0.9")
    learning_rate: float = setting(0.001, "at its highest")
    schedule: str = setting("constant", "of the learning rate; cosine: down to zero over all epochs")
    warmup_share: float = setting(0.0, "of all steps, with the learning rate rising from zero (cosine only)")

    rotation_degrees: float = setting(10.0, "rotation to either side")
    zoom: float = setting(0.1, "as a fraction, in and out")
    shift: float = setting(0.1, "as a fraction of the side, in x and y")
    brightness: float = setting(0.0, "gray levels added, as a fraction of 255, up or down")
    contrast: float = setting(0.0, "change of contrast, as a fraction, up or down")
    erasing: float = setting(0.0, "share of images with a rectangle replaced by noise")
    live: float = setting(0.0, "share of images with spectacles, bad light, blur, noise and other faults of cameras")
    mixup: float = setting(0.0, "alpha of the beta distribution that mixes two images; 0: none")
    small_share: float = setting(0.0, "of the epochs, the first ones, on images of 32 pixels: twice as fast")

    dropout: float = setting(1.0, "factor on the network's own dropout rates")
    weight_decay: float = setting(0.0, "decoupled from the loss, on kernels only")
    label_smoothing: float = setting(0.0, "share of the label spread over all classes")
    ema: float = setting(0.0, "momentum of the averaged weights that are validated and kept; 0: none")
    measured_statistics: bool = setting(
        True, "measure batch normalization's statistics before each validation; averaged weights always do"
    )
    imbalance: str = setting("none", "what is done about rare classes")
    imbalance_power: float = setting(1.0, "how strongly: 0 not at all, 1 as if all classes were equally frequent")
    teacher_share: float = setting(0.7, "of the answers of --teacher in the labels, where there is one")
    fer_plus: str = setting("none", "FER+ votes for the training images: mixed half into the labels, or as filter")

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"unknown {name.replace('_', ' ')} {value!r}: allowed are {', '.join(choices)}")
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name.replace('_', ' ')} {getattr(self, name)} must be above 0")
        if self.shape != "base" and self.model != "mien_net":
            raise ValueError(f"shape {self.shape!r} is one of mien_net's: {self.model} has but one, leave it out")
        if self.width > MAX_WIDTH:
            raise ValueError(f"width {self.width} must be at most {MAX_WIDTH}")
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', ' ')} {getattr(self, name)} must be 0 or more and below 1")
        for item in fields(self):
            if isinstance(value := getattr(self, item.name), float) and not math.isfinite(value):
                raise ValueError(f"{item.name.replace('_', ' ')} {value} must be a finite number")
        for name in ("mixup", "dropout", "weight_decay", "imbalance_power", "rotation_degrees"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name.replace('_', ' ')} {getattr(self, name)} must be 0 or more")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed {self.seed} must be 0 or more and below 2**32")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"validation share {self.validation_share} must lie between 0 and 1")

    def differences(self, other: "TrainingConfig") -> list[str]:
        """Return what differs, one "name was A, now B" each; `self` is the later one."""
        before, now = asdict(other), asdict(self)
        return [f"{name} was {before[name]}, now {now[name]}" for name in now if now[name] != before[name]]


RECIPES = {
    # The paper: Adam at a constant 0.001, batches of 64, 50 epochs; rotation, zoom, shift and flip;
    # no weights for rare classes, nothing averaged. It does not say how batch normalization got its
    # statistics; measured ones change nothing in what is learnt, and are what the weights deserve.
    "paper": TrainingConfig(),
    # What good results on FER2013 have in common, for a fixed network:
    "strong": TrainingConfig(
        recipe="strong",
        epochs=50,
        batch_size=128,
        learning_rate=0.0015,
        schedule="cosine",  # ends in a minimum instead of jumping around it
        warmup_share=0.05,
        rotation_degrees=15.0,
        zoom=0.15,
        brightness=0.1,
        contrast=0.2,
        erasing=0.3,
        small_share=0.6,  # two thirds of the time, and the network sees more sizes
        dropout=0.3,  # between the paper's rates, under which its CNN learns slowly, and none, which overfits
        weight_decay=0.05,
        label_smoothing=0.1,
        ema=0.998,
        imbalance="logit-adjustment",
        imbalance_power=0.5,
    ),
    # A published model on someone's own images: small steps, so that little is forgotten.
    "fine-tune": TrainingConfig(
        recipe="fine-tune",
        epochs=15,
        learning_rate=0.0002,
        schedule="cosine",
        measured_statistics=False,  # a few own images would be a poor measure
        imbalance="class-weights",
        imbalance_power=0.5,  # own collections can be so uneven that a lone image would outweigh a class
    ),
}


def read_run(out: Path) -> dict[str, Any]:
    """Return what `run.json` in a run's folder holds: the settings, and "data_sha256".

    Raises:
        FileNotFoundError: there is no run.
        ValueError: the file is damaged.
    """
    path = out / "run.json"
    if not path.exists():
        raise FileNotFoundError(f"{out} holds no run: there is nothing to resume, start without --resume")
    try:
        run: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        config_of(run)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it, or start anew in another --out") from error
    return run


def write_run(out: Path, config: TrainingConfig, facts: dict[str, Any]) -> None:
    """Write the settings of a run, and which data it learns from, into its folder."""
    content = {**asdict(config), **facts}
    write_text_whole(out / "run.json", json.dumps(content, indent=2) + "\n")


def config_of(run: dict[str, Any]) -> TrainingConfig:
    """Return the settings in what `read_run` returned; a setting that it lacks has its default."""
    return TrainingConfig(**{item.name: run[item.name] for item in fields(TrainingConfig) if item.name in run})


def check_run(out: Path, config: TrainingConfig, facts: dict[str, Any], resume: bool) -> None:
    """Refuse to overwrite a run, or to go on with other settings or other data than it was started with.

    Raises:
        FileExistsError: `out` holds a run and `resume` is false.
        FileNotFoundError: `resume` is true and `out` holds no run.
        NotADirectoryError: `out` is a file.
        ValueError: `resume` is true and something differs.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file: give a folder")
    if not resume:
        if found := [name for name in RUN_FILES if (out / name).exists()]:
            raise FileExistsError(
                f"{out} already holds a run ({found[0]}): continue it with --resume or give another --out"
            )
        return
    before = read_run(out)
    if unknown := [item.name for item in fields(config) if item.name not in before]:
        raise ValueError(f"{out} was started by a version without {', '.join(unknown)}: start anew in another --out")
    if changed := config.differences(config_of(before)):
        raise ValueError(f"{out} was started with other settings ({'; '.join(changed)}): give the same ones")
    for name, value in facts.items():
        if name in FACTS and (was := before.get(name)) != value:
            if was is None:
                raise ValueError(f"{out} was started with no {FACTS[name]}: leave it out")
            known = f" ({was})" if name == "backend" else ""  # the others are hashes
            raise ValueError(f"{out} was started with another {FACTS[name]}{known}: give the same one")


def check_split(run: Path, config: TrainingConfig, data_sha256: str) -> None:
    """Refuse to learn from a run that has seen the images that a run with these settings validates on.

    It would pass on what it knows of them, and the figure that the best epoch is chosen by would be
    flattered. A run on other data is no concern.

    Raises:
        ValueError: the run in this folder learnt from the same data with another seed, or validated on less of it.
    """
    settings = read_run(run)
    if settings.get("data_sha256") != data_sha256:
        return
    before = config_of(settings)
    differs = ""
    if before.seed != config.seed:
        differs, advice = f"seed {before.seed}, this run {config.seed}", "give the same one"
    elif before.validation_share < config.validation_share:  # one seed: less validation is a part of more
        differs = f"validation share {before.validation_share}, this run {config.validation_share}"
        advice = f"give {before.validation_share} or less"
    if differs:
        raise ValueError(f"{run} has {differs}: it has learnt from images that this run validates on; {advice}")


def check_votes(config: TrainingConfig, votes: Path | None) -> None:
    """Raise ValueError unless FER+ votes are both asked for and given, or neither."""
    if (config.fer_plus == "none") != (votes is None):
        raise ValueError(
            f"--fer-plus {config.fer_plus} and --fer-plus-votes FILE go together: give soft or filter with a file"
        )
