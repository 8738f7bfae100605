"""Training of the face finder: one epoch, one checkpoint, one line of history; resumable after each."""

import csv
import json
import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mien.files import write_text_whole, write_whole
from mien.photographs import BLOCK, Photograph
from train.config import CHECKPOINT, setting
from train.finder.judge import LEAST_WIDTH, Judge, balance_scores
from train.finder.targets import finder_loss, make_targets
from train.finder.views import Source, draw_view
from train.learner import load_network, load_state, measure_batch_statistics, save_state
from train.models.finder import build
from train.progress import RunProgress

HISTORY_COLUMNS = ("epoch", "loss", "val_average_precision")
SIDES, SIDE_SHARES = (160, 192, 256), (0.4, 0.35, 0.25)
"""Sides of the views of a batch, and how often each comes: small ones are quick, large faces need large ones."""

HARD_VIEWS = 2
"""A photograph with a hard face (`Source.is_hard`) is looked at so many times in an epoch."""

BALANCE = "balance.json"
"""In a run's folder once it is finished: by what the scores of `model.keras` were shifted."""

WORKERS = 2
STATISTICS_VIEWS = 512
"""From which batch normalization takes its statistics before each validation."""


@dataclass(frozen=True)
class FinderConfig:
    """One run's settings."""

    epochs: int = setting(60, "how often each photograph is looked at; those with hard faces twice as often")
    batch_size: int = setting(32, "views a step")
    learning_rate: float = setting(0.002, "of AdamW at its highest; a cosine takes it down to zero")
    weight_decay: float = setting(0.02, "decoupled from the loss, on kernels only")
    ema: float = setting(0.998, "momentum of the average of the weights that is kept")
    seed: int = setting(0, "of everything random: order, views, weights")

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name.replace('_', ' ')} {getattr(self, name)} must be above 0")
        if not self.weight_decay >= 0 or not 0 <= self.ema < 1 or not 0 <= self.seed < 2**32:
            raise ValueError(
                f"weight decay {self.weight_decay}, ema {self.ema}, seed {self.seed}: allowed are 0 or more, 0 to "
                "below 1, and 0 or more"
            )


class Batches:
    """One epoch's batches, in an order and with views that follow from (seed, epoch).

    Each is (views (N, side, side, 1) float32 0-255, targets as `make_targets` gives them, stacked).
    """

    def __init__(self, sources: list[Source], config: FinderConfig, epoch: int) -> None:
        self._sources, self._batch_size, self._seed = sources, config.batch_size, (config.seed, epoch)
        rng = np.random.default_rng(self._seed)
        views = [HARD_VIEWS if source.is_hard.any() else 1 for source in sources]
        self._order = rng.permutation(np.repeat(np.arange(len(sources)), views))
        self._sides = rng.choice(SIDES, len(self), p=SIDE_SHARES)

    def __len__(self) -> int:
        return max(1, len(self._order) // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the batches, while others are made ahead."""
        with ThreadPoolExecutor(WORKERS) as pool:
            ahead: deque[Any] = deque()
            for index in range(len(self)):
                ahead.append(pool.submit(self.make, index))
                if len(ahead) > 2 * WORKERS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def make(self, index: int) -> tuple[Any, dict[str, Any]]:
        """Return a batch by its number."""
        rng, side = np.random.default_rng([*self._seed, index]), int(self._sides[index])
        numbers = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        views = [draw_view(self._sources, number, side, rng) for number in numbers]
        targets = [make_targets(view.boxes, view.landmarks, view.ignored, side) for view in views]
        images = np.stack([view.image for view in views])[..., np.newaxis].astype(np.float32)
        return images, {name: np.stack([target[name] for target in targets]) for name in targets[0]}


class Learner(keras.Model):
    """The network with its loss.

    Args:
        network: what `train.models.finder.build` returned.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Answer as the network does."""
        return self.network(images, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of a batch."""
        return finder_loss(y, y_pred)


def train_finder(
    training: list[Photograph],
    validation: list[Photograph],
    config: FinderConfig,
    out: Path,
    facts: dict[str, Any],
    resume: bool = False,
    start: Path | None = None,
) -> Path:
    """Train the face finder and write it to `out`, as `train.training.train` writes other networks.

    Args:
        training: photographs to learn from, with faces and without.
        validation: photographs to choose the best epoch by.
        config: the settings.
        out: the run's folder.
        facts: what else makes this run what it is, kept in `run.json`.
        resume: continue the run in `out`.
        start: a `.keras` file whose weights a new run starts from.

    Returns:
        The path of `model.keras`.

    Raises:
        FileExistsError: `out` holds a run and `resume` is false.
        FileNotFoundError: `resume` is true and `out` holds no run; a picture is missing.
        FloatingPointError: the loss became NaN or infinite.
        ValueError: the run in `out` had other settings, a file is damaged, or no validation photograph has a face to
            judge by.
    """
    check_finder_run(out, config, facts, resume)
    sources = [Source(photograph, photograph.read()) for photograph in training]
    _check_validation(validation)
    judge = Judge(validation)
    keras.utils.set_random_seed(config.seed)
    learner, steps = _build_learner(sources, config)
    history: list[dict[str, float]] = []
    if resume and (out / CHECKPOINT).exists():
        load_state(learner, out / CHECKPOINT)
        history = read_history(out / "history.csv")[: int(learner.optimizer.iterations) // steps]
    elif start is not None:
        learner.network.set_weights(load_network(start).get_weights())
    out.mkdir(parents=True, exist_ok=True)
    write_text_whole(out / "run.json", json.dumps({"model": "finder", **asdict(config), **facts}, indent=2) + "\n")
    statistics = _statistics_views(sources, config)
    averaged = build()
    with RunProgress(config.epochs, steps, history, "average_precision") as progress:
        for epoch in range(len(history), config.epochs):
            loss = _train_epoch(learner, Batches(sources, config, epoch), epoch, progress)
            _average(learner, averaged, statistics)
            precision = round(judge.average_precision(averaged), 5)
            row = {"epoch": epoch + 1.0, "loss": round(loss, 5), "val_average_precision": precision}
            history.append(row)
            is_best = precision >= max(other["val_average_precision"] for other in history)
            if is_best:
                write_whole(out / "model.keras", averaged.save)
            write_whole(out / "history.csv", lambda path: _write_history(history, path))
            write_whole(out / CHECKPOINT, lambda path: save_state(learner, path))
            progress.epoch_done(row, is_best)
    _balance(out, judge)
    return out / "model.keras"


def _balance(out: Path, judge: Judge) -> None:
    """Balance the scores of a finished run's best network, once."""
    if (out / BALANCE).exists():
        return
    best = load_network(out / "model.keras")
    shifts = balance_scores(best, judge)
    write_whole(out / "model.keras", best.save)
    write_text_whole(out / BALANCE, json.dumps({str(stride): shift for stride, shift in shifts.items()}) + "\n")


def _check_validation(photographs: list[Photograph]) -> None:
    """Raise ValueError where no photograph has a face to judge by."""
    for photograph in photographs:
        widths = photograph.boxes[:, 2]
        if len(widths) and (widths >= LEAST_WIDTH * photograph.read().shape[1]).any():
            return
    raise ValueError(
        f"none of the {len(photographs)} validation photographs has a face wider than {LEAST_WIDTH:.0%} of it, so that "
        f"no epoch can be chosen: bring more than {2 * BLOCK} photographs of a source (SOURCE_NUMBER.jpg)"
    )


def _train_epoch(learner: Learner, batches: Batches, epoch: int, progress: RunProgress) -> float:
    """Train one epoch; return its mean loss. Keras' `fit` would want views of one size."""
    total = 0.0
    for number, (images, targets) in enumerate(batches, 1):
        loss = float(learner.train_on_batch(images, targets, return_dict=True)["loss"])  # of this batch alone
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss} in epoch {epoch + 1}, batch {number}: start anew in another --out with a "
                "lower --learning-rate"
            )
        total += loss
        progress.step({"loss": total / number})
    return total / len(batches)


def check_finder_run(out: Path, config: FinderConfig, facts: dict[str, Any], resume: bool) -> None:
    """Refuse to overwrite a run, or to go on with other settings or data than it was started with; see above."""
    path = out / "run.json"
    if not resume:
        if path.exists():
            raise FileExistsError(f"{out} already holds a run: continue it with --resume or give another --out")
        return
    if not path.exists():
        raise FileNotFoundError(f"{out} holds no run: there is nothing to resume, start without --resume")
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it, or start anew in another --out") from error
    now = {"model": "finder", **asdict(config), **facts}
    if changed := [f"{name} was {before.get(name)}, now {now[name]}" for name in now if before.get(name) != now[name]]:
        raise ValueError(f"{out} was started with other settings ({'; '.join(changed)}): give the same ones")


def _build_learner(sources: list[Source], config: FinderConfig) -> tuple[Learner, int]:
    steps = len(Batches(sources, config, 0))
    warmup = min(steps, config.epochs * steps - 1)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, config.epochs * steps - warmup, warmup_target=config.learning_rate, warmup_steps=warmup
    )
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": config.ema} if config.ema else {}
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, clipnorm=10.0, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    learner = Learner(build())
    # XLA makes training on a CPU several times slower in TensorFlow.
    learner.compile(optimizer, jit_compile=keras.backend.backend() == "jax")
    learner.build((None, *([SIDES[0]] * 2), 1))
    optimizer.build(learner.trainable_variables)
    return learner, steps


def _statistics_views(sources: list[Source], config: FinderConfig) -> Any:
    rng = np.random.default_rng([config.seed, 2**31])
    numbers = rng.integers(len(sources), size=STATISTICS_VIEWS)
    views = [draw_view(sources, number, SIDES[1], rng).image for number in numbers]
    return np.stack(views)[..., np.newaxis].astype(np.float32)


def _average(learner: Learner, averaged: keras.Model, views: Any) -> None:
    """Give `averaged` the average of the learner's weights, with the batch statistics that go with it."""
    averaged.set_weights(learner.network.get_weights())
    if learner.optimizer.use_ema:
        learner.optimizer.finalize_variable_values(averaged.trainable_variables)
        # As a copy: JAX would share the arrays, and predicting gives its own away.
        averaged.set_weights([np.array(weight) for weight in averaged.get_weights()])
    if not all(np.isfinite(weight).all() for weight in averaged.get_weights()):
        raise FloatingPointError("the network became nan: start anew in another --out with a lower --learning-rate")
    measure_batch_statistics(averaged, views, batch_size=64)


def read_history(path: Path) -> list[dict[str, float]]:
    """Read `history.csv`: one row an epoch, with the columns of `HISTORY_COLUMNS`.

    Raises:
        ValueError: the file is missing or damaged.
    """
    try:
        with open(path, newline="") as file:
            return [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it, or start anew in another --out") from error


def _write_history(history: list[dict[str, float]], path: Path) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS)
        writer.writeheader()
        for row in history:
            writer.writerow({**{name: f"{value:.5f}" for name, value in row.items()}, "epoch": int(row["epoch"])})
