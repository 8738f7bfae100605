"""The training loop: one epoch, one checkpoint, one line of history, until done; resumable after each."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mien.files import write_whole
from mien.metrics import measure
from train.batches import EpochBatches, Sides, as_input, class_shares, steps_per_epoch
from train.config import CHECKPOINT, TrainingConfig, check_run, write_run
from train.evaluation import predict
from train.learner import (
    FULL_SIZE,
    build_learner,
    image_size,
    load_network,
    load_state,
    measure_batch_statistics,
    save_state,
    seed_random_streams,
)
from train.models import build
from train.models.folding import FoldingConv2D
from train.models.mien_net import build_plain
from train.progress import RunProgress, WatchBatches

HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_macro_f1")
STATISTICS_IMAGES = 2048
"""Training images from which batch normalization takes its statistics before each validation."""


def train(
    sides: Sides,
    config: TrainingConfig,
    out: Path,
    facts: dict[str, Any],
    resume: bool = False,
    start: Path | None = None,
    tensorboard: bool = False,
) -> Path:
    """Train a model and write it to `out`.

    Written after every epoch, each file whole or not at all: the checkpoint (weights, optimizer and
    averaged weights), `history.csv`, and `model.keras` (float32) whenever the epoch is the best
    yet on validation images.

    Args:
        sides: the data.
        config: the settings.
        out: the run's folder.
        facts: what else makes this run what it is (hashes of its data), kept in `run.json`.
        resume: continue the run in `out`.
        start: a `.keras` file whose weights a new run starts from.
        tensorboard: also log the history for TensorBoard, in `out`/tensorboard.

    Returns:
        The path of `model.keras`.

    Raises:
        FileExistsError: `out` holds a run and `resume` is false.
        FileNotFoundError: `resume` is true and `out` holds no run.
        FloatingPointError: the loss became NaN or infinite.
        ValueError: `resume` is true and the run in `out` had other settings or other data.
    """
    check_run(out, config, facts, resume)
    log_row = _tensorboard_logger(out / "tensorboard") if tensorboard else None
    run = _Run(sides, config, out, start)
    if not resume:
        out.mkdir(parents=True, exist_ok=True)
        write_run(out, config, facts)
    if log_row:
        for row in run.history:
            log_row(row)
    with RunProgress(config.epochs, run.steps_per_epoch, run.history) as progress:
        for epoch in range(run.epochs_done, config.epochs):
            log = run.train_epoch(epoch, progress)
            row = run.keep_epoch(epoch, log)
            progress.epoch_done(row, is_best=row == run.best)
            if log_row:
                log_row(row)
    return out / "model.keras"


def read_history(path: Path) -> list[dict[str, float]]:
    """Read `history.csv`: one row an epoch, with the columns of `HISTORY_COLUMNS`; no file, no row.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="") as file:
            return [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in csv.DictReader(file)]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged, it should hold the numbers {', '.join(HISTORY_COLUMNS)}: "
            "restore it, or start anew in another --out"
        ) from error


def best_epoch(history: list[dict[str, float]], config: TrainingConfig) -> dict[str, float]:
    """Return the row of the epoch that is kept: the best on validation images, the first one of equals."""
    if config.judged_by == "loss":
        return min(history, key=lambda row: row["val_loss"])
    return max(history, key=lambda row: row["val_accuracy"])


class _Run:
    """A run in hand: the learner, what judges it, and the files that both can be restored from."""

    def __init__(self, sides: Sides, config: TrainingConfig, out: Path, start: Path | None) -> None:
        self._sides, self._config, self._out, self._start = sides, config, out, start
        self.steps_per_epoch = steps_per_epoch(len(sides.training), config.batch_size)
        self.history = read_history(out / "history.csv")
        # Drawn, because folders are read class by class.
        rows = np.random.default_rng(config.seed).permutation(len(sides.training))[:STATISTICS_IMAGES]
        self._statistics_images = as_input(sides.training.images[rows])
        # Without dropout, as batch statistics are measured, and in float32, as the model is kept.
        self._judge = build(config.model, FULL_SIZE, config.width, 0.0, config.shape)
        self._restore(image_size(config, len(self.history)))
        if not self.epochs_done <= len(self.history) <= self.epochs_done + 1:
            raise ValueError(
                f"{out / CHECKPOINT} holds {self.epochs_done} epochs, history.csv has {len(self.history)}: "
                "restore the one that is behind, or start anew in another --out"
            )
        # A kill between the two writes leaves the history one epoch ahead of the checkpoint.
        self.history = self.history[: self.epochs_done]

    @property
    def epochs_done(self) -> int:
        """How many whole epochs the learner has behind it."""
        return int(self._learner.optimizer.iterations) // self.steps_per_epoch

    @property
    def best(self) -> dict[str, float]:
        """The history's row of the epoch that is kept."""
        return best_epoch(self.history, self._config)

    def train_epoch(self, epoch: int, progress: RunProgress) -> dict[str, float]:
        """Train one epoch; return its loss and accuracy."""
        sides, config = self._sides, self._config
        if self._network.input_shape[1] != (size := image_size(config, epoch)):
            self._restore(size)
        seed_random_streams(self._learner, config.seed, epoch)
        try:
            log = self._learner.fit(
                EpochBatches(sides, config, epoch),
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,  # EpochBatches has drawn the order; Keras would shuffle the batches once more, unseeded
                callbacks=[WatchBatches(progress, epoch)],
                verbose=0,
            ).history
        except FloatingPointError as error:
            raise self._broken(str(error), epoch) from None
        self._learner.optimizer.use_ema = config.ema > 0
        return {name: values[-1] for name, values in log.items()}

    def keep_epoch(self, epoch: int, log: dict[str, float]) -> dict[str, float]:
        """Judge the network on validation images, write the run's files; return the history's new row."""
        weights = self._network.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):  # max pooling can hide it from every answer
            raise self._broken(f"the network became nan in epoch {epoch + 1}", epoch)
        self._judge.set_weights(weights)
        if self._config.ema:
            self._learner.optimizer.finalize_variable_values(self._judge.trainable_variables)  # sets the averaged ones
            # As a copy: JAX would share the arrays, and predicting gives its own away.
            self._judge.set_weights([np.array(weight) for weight in self._judge.get_weights()])
        if self._config.ema or self._config.measured_statistics:
            measure_batch_statistics(self._judge, self._statistics_images)
        probabilities = predict(self._judge, self._sides.validation)
        if not np.isfinite(probabilities).all():
            raise self._broken(f"the network became nan in epoch {epoch + 1}", epoch)
        judged = measure(self._sides.validation.labels, probabilities)
        row = {"epoch": epoch + 1.0, "loss": log["loss"], "accuracy": log["accuracy"]}
        row |= {"val_loss": judged.log_loss, "val_accuracy": judged.accuracy, "val_macro_f1": judged.macro_f1}
        # Rounded as in the file, so that "the best yet" means the same after a resume.
        row = {name: round(value, 5) for name, value in row.items()}
        self.history.append(row)
        try:
            if self.best == row:
                write_whole(self._out / "model.keras", _copy(self._judge, self._config).save)
            write_whole(self._out / "history.csv", lambda path: _write_history(self.history, path))
            write_whole(self._out / CHECKPOINT, lambda path: save_state(self._learner, path))
        except OSError as error:
            raise OSError(
                f"cannot write epoch {epoch + 1} into {self._out} ({error}): "
                f"make room and --resume, which goes on after epoch {epoch}"
            ) from error
        return row

    def _broken(self, what: str, epoch: int) -> FloatingPointError:
        advice = "start anew in another --out with a lower --learning-rate"
        if epoch:
            advice += f", or from --start {self._out / 'model.keras'}; {self._out / CHECKPOINT} holds epoch {epoch}"
        return FloatingPointError(f"{what}: {advice}")

    def _restore(self, size: int) -> None:
        """Build the learner for images of a size, with the checkpoint's state if there is one."""
        config = self._config
        shares = class_shares(self._sides.training.labels)
        self._learner, self._network = build_learner(config, size, config.epochs * self.steps_per_epoch, shares)
        if (checkpoint := self._out / CHECKPOINT).exists():  # a run that was stopped in its first epoch has none
            load_state(self._learner, checkpoint)
        elif self._start is not None:
            _load_start(self._network, self._start)


def _load_start(network: keras.Model, start: Path) -> None:
    trained = load_network(start)
    try:
        network.set_weights(trained.get_weights())
    except ValueError as error:
        raise ValueError(
            f"{start} holds {trained.name} with {trained.count_params():,} parameters, which does not fit "
            f"{network.name} with {network.count_params():,}: give the same model, width and shape"
        ) from error


def _copy(network: keras.Model, config: TrainingConfig) -> keras.Model:
    """Return the network with its dropout and without branches: what others load, and may go on training."""
    if any(isinstance(layer, FoldingConv2D) for layer in network.layers):
        return build_plain(network, config.width, config.dropout, config.shape)
    copy = build(config.model, FULL_SIZE, config.width, config.dropout, config.shape)
    copy.set_weights(network.get_weights())
    return copy


def _write_history(history: list[dict[str, float]], path: Path) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS)
        writer.writeheader()
        for row in history:
            writer.writerow({**{name: f"{value:.5f}" for name, value in row.items()}, "epoch": int(row["epoch"])})


def _tensorboard_logger(folder: Path) -> Callable[[dict[str, float]], None]:
    """Return what writes a row of the history into TensorBoard's log, which starts anew."""
    from tensorboard.summary import Writer

    shutil.rmtree(folder, ignore_errors=True)  # a resumed run logs all its epochs: one file, in order
    writer = Writer(str(folder))

    def log_row(row: dict[str, float]) -> None:
        for name in HISTORY_COLUMNS[1:]:
            side = "validation" if name.startswith("val_") else "training"
            writer.add_scalar(f"{name.removeprefix('val_')}/{side}", row[name], int(row["epoch"]))
        writer.flush()

    return log_row
