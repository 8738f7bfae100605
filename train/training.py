"""The training loop: one epoch, one checkpoint, one line of history, until done; resumable after each."""

import csv
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mien.fer2013 import Fer2013
from train.augmentation import RandomAffine
from train.batches import EpochBatches, as_arrays, split_training
from train.config import TrainingConfig, read_run, write_run
from train.models import build

HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


def train(data: Fer2013, config: TrainingConfig, out: Path, resume: bool = False) -> Path:
    """Train a model and write it to `out`.

    Written after every epoch, each file whole or not at all: `checkpoint.keras` (weights and
    optimizer), `history.csv`, and `model.keras` (float32) whenever validation accuracy is the best yet.

    Returns:
        The path of `model.keras`.

    Raises:
        FileExistsError: `out` holds a run and `resume` is false.
        FileNotFoundError: `resume` is true and `out` holds no run.
        ValueError: `resume` is true and the run in `out` had other settings or other data.
    """
    training, validation = split_training(data, config.validation_share, config.seed)
    steps_per_epoch = -(-len(training) // config.batch_size)
    if resume:
        _check_same_run(out, config, data)
    else:
        _start_run(out, config, data)
    checkpoint = out / "checkpoint.keras"
    # A run that was stopped in its first epoch has none.
    learner = keras.saving.load_model(checkpoint) if checkpoint.exists() else _build_learner(config, steps_per_epoch)
    print(f"{len(training):,} images to learn from, {len(validation):,} to validate on")
    history = read_history(out / "history.csv")
    first_epoch = int(learner.optimizer.iterations) // steps_per_epoch
    # A kill between the two writes leaves the history one epoch ahead of the checkpoint.
    history = history[:first_epoch]
    validation_arrays = as_arrays(validation)
    for epoch in range(first_epoch, config.epochs):
        _seed_random_streams(learner, config.seed, epoch)
        log = learner.fit(
            EpochBatches(training, config.batch_size, config.seed, epoch),
            validation_data=validation_arrays,
            validation_batch_size=256,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,  # EpochBatches has drawn the order; Keras would shuffle the batches once more, unseeded
            callbacks=[_Progress(config.epochs)],
            verbose=1 if os.isatty(1) else 2,
        ).history
        # Rounded as in the file, so that "the best yet" means the same after a resume.
        row = {"epoch": epoch + 1.0, **{name: round(log[name][-1], 5) for name in HISTORY_COLUMNS[1:]}}
        if row["val_accuracy"] > max((earlier["val_accuracy"] for earlier in history), default=-1.0):
            _save(_float32_network(learner, config.model), out / "model.keras")
        history.append(row)
        _write_history(history, out / "history.csv")
        _save(learner, out / "checkpoint.keras")
    return out / "model.keras"


def read_history(path: Path) -> list[dict[str, float]]:
    """Read `history.csv`: one row an epoch, with the columns of `HISTORY_COLUMNS`; no file, no row."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in csv.DictReader(file)]


class _Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar; it names the run's epochs, where `fit` knows only the one in hand."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._run_epochs = epochs

    def set_params(self, params: dict[str, Any]) -> None:
        """Take Keras' parameters, with the run's number of epochs."""
        super().set_params({**params, "epochs": self._run_epochs})


def _start_run(out: Path, config: TrainingConfig, data: Fer2013) -> None:
    if (out / "run.json").exists():
        raise FileExistsError(f"{out} already holds a run: continue it with --resume or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_run(out, config, data.sha256)


def _check_same_run(out: Path, config: TrainingConfig, data: Fer2013) -> None:
    before, now = read_run(out), asdict(config)
    if changed := [name for name in now if now[name] != before.get(name)]:
        differences = ", ".join(f"{name} was {before.get(name)}, now {now[name]}" for name in changed)
        raise ValueError(f"{out} was started with other settings ({differences}): give the same ones")
    if before.get("data_sha256") != data.sha256:
        raise ValueError(f"{out} was started with other data: give the same file or folder")


def _build_learner(config: TrainingConfig, steps_per_epoch: int) -> keras.Model:
    """Build augmentation and network as one model, compiled: it is what a checkpoint holds."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if config.mixed_precision else "float32")
    network = build(config.model)
    keras.config.set_dtype_policy("float32")
    augmentation = RandomAffine(config.rotation_degrees, config.zoom, config.shift, seed=config.seed)
    learner = keras.Sequential([keras.Input((48, 48, 1)), augmentation, network], name="learner")
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=config.epochs * steps_per_epoch)
    # On a CPU, XLA makes TensorFlow's training several times slower.
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    learner.compile(keras.optimizers.Adam(rate), loss="categorical_crossentropy", metrics=["accuracy"], jit_compile=jit)
    return learner


def _seed_random_streams(learner: keras.Model, seed: int, epoch: int) -> None:
    """Start the streams of augmentation and dropout from (seed, epoch): Keras does not save where they are."""
    streams = [variable for variable in learner.variables if variable.path.endswith("seed_generator_state")]
    for number, stream in enumerate(streams):
        stream.assign(np.random.default_rng([seed, epoch, number]).integers(0, 2**31, stream.shape))


def _float32_network(learner: keras.Model, name: str) -> keras.Model:
    """Return the network without augmentation, optimizer and mixed precision: what others load."""
    network = build(name)
    network.set_weights(learner.layers[-1].get_weights())
    return network


def _save(model: keras.Model, path: Path) -> None:
    unfinished = path.with_name(f".unfinished-{path.name}")
    model.save(unfinished)
    os.replace(unfinished, path)


def _write_history(history: list[dict[str, float]], path: Path) -> None:
    unfinished = path.with_name(f".unfinished-{path.name}")
    with open(unfinished, "w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS)
        writer.writeheader()
        for row in history:
            writer.writerow({**{name: f"{value:.5f}" for name, value in row.items()}, "epoch": int(row["epoch"])})
    os.replace(unfinished, path)
