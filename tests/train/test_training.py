"""Training writes what it promises, and an interruption costs nothing but time."""

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.fer2013 import Fer2013
from tests.conftest import REPOSITORY, make_data, require_module, write_csv

keras = require_module("keras")

from mien.files import write_whole
from train import learner, training
from train.__main__ import build_parser, main, settle
from train.batches import EpochBatches, Sides, divide
from train.config import CHECKPOINT, RECIPES, TrainingConfig, write_run
from train.progress import RunProgress

pytestmark = pytest.mark.tensorflow

NARROW = ("resemotenet", "--width", "0.06", "--batch-size", "8")


def build_tiny(name: str, size: int = 48, width: float = 1.0, dropout: float = 1.0, shape: str = "base") -> object:
    """Build a network with all that matters for resuming: batch statistics and dropout."""
    layers = keras.layers
    network = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=4), layers.BatchNormalization(), layers.ReLU()]
    network += [layers.MaxPooling2D((1, size // 4 - 1)), layers.Resizing(6, 1), layers.Flatten()]
    network += [layers.Dropout(0.3 * dropout), layers.Dense(7, activation="softmax", dtype="float32")]
    return keras.Sequential([keras.Input((size, size, 1)), *network], name=name)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "build", build_tiny)
    monkeypatch.setattr(learner, "build", build_tiny)


def train(data: Fer2013, config: TrainingConfig, out: Path, resume: bool = False) -> Path:
    return training.train(divide(data, config), config, out, {"data_sha256": data.sha256}, resume)


@pytest.mark.usefixtures("tiny")
def test_what_a_run_was_started_with_must_be_given_again(tmp_path: Path) -> None:
    data, config = make_data(), TrainingConfig(epochs=1, batch_size=8)
    start = train(data, config, tmp_path / "first")
    sides, facts = divide(data, config), {"data_sha256": "...", "start_sha256": "abc"}
    training.train(sides, config, tmp_path / "second", facts, start=start)
    with pytest.raises(ValueError, match="started with another --start: give the same one"):
        training.train(sides, config, tmp_path / "second", {**facts, "start_sha256": None}, resume=True)
    with pytest.raises(ValueError, match="started with no KERAS_BACKEND: leave it out"):
        training.train(sides, config, tmp_path / "second", {**facts, "backend": "jax"}, resume=True)
    facts |= {"backend": "tensorflow"}
    training.train(sides, config, tmp_path / "third", facts, start=start)
    with pytest.raises(ValueError, match=r"another KERAS_BACKEND \(tensorflow\): give the same one"):
        training.train(sides, config, tmp_path / "third", {**facts, "backend": "jax"}, resume=True)
    del facts["backend"]
    settings = json.loads((tmp_path / "second/run.json").read_text())
    del settings["mixup"]
    (tmp_path / "second/run.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="started by a version without mixup: start anew in another --out"):
        training.train(sides, config, tmp_path / "second", facts, resume=True)


@pytest.mark.usefixtures("tiny")
def test_a_run_whose_checkpoint_is_gone_is_not_restarted_silently(tmp_path: Path) -> None:
    data, config = make_data(), TrainingConfig(epochs=2, batch_size=8)
    train(data, config, tmp_path)
    (tmp_path / CHECKPOINT).rename(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"checkpoint.npz holds 0 epochs, history.csv has 2: restore"):
        train(data, config, tmp_path, resume=True)
    (tmp_path / "gone").rename(tmp_path / CHECKPOINT)
    # Without its history, the next epoch would pass for the best yet.
    (tmp_path / "history.csv").rename(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"checkpoint.npz holds 2 epochs, history.csv has 0: restore"):
        train(data, config, tmp_path, resume=True)
    (tmp_path / "run.json").unlink()
    with pytest.raises(FileExistsError, match=r"already holds a run \(checkpoint.npz\)"):
        train(data, config, tmp_path)


def run_command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "train", *arguments]
    environment = {**os.environ, "COLUMNS": "200", **options.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment, **options)  # type: ignore[call-overload]


@pytest.mark.usefixtures("tiny")
def test_a_network_learns_what_can_be_learnt(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=12, batch_size=16, learning_rate=0.01, rotation_degrees=0, zoom=0, shift=0)
    model = train(make_data(per_class=30), config, tmp_path / "run")
    history = training.read_history(tmp_path / "run" / "history.csv")
    best = max(history, key=lambda row: row["val_accuracy"])
    assert best["val_accuracy"] > 0.9
    network = keras.saving.load_model(model)
    test = make_data(per_class=30).test
    predictions = network.predict(test.images[..., np.newaxis].astype(np.float32), verbose=0).argmax(axis=1)
    assert (predictions == test.labels).mean() > 0.9


@pytest.mark.usefixtures("tiny")
def test_the_best_epoch_is_kept_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data(per_class=30)
    config = TrainingConfig(epochs=8, batch_size=16, learning_rate=0.01)
    seed = learner.seed_random_streams

    def spoil_the_last_epoch(model: object, number: int, epoch: int) -> None:
        seed(model, number, epoch)
        if epoch == 7:
            model.optimizer.learning_rate = 10.0  # type: ignore[attr-defined]

    monkeypatch.setattr(training, "seed_random_streams", spoil_the_last_epoch)
    network = keras.saving.load_model(train(data, config, tmp_path))
    history = training.read_history(tmp_path / "history.csv")
    best = max(row["val_accuracy"] for row in history)
    assert history[-1]["val_accuracy"] < best - 0.1
    validation = divide(data, config).validation
    found = network.predict(validation.images[..., np.newaxis].astype(np.float32), verbose=0).argmax(axis=1)
    assert (found == validation.labels).mean() == pytest.approx(best, abs=1e-4)


@pytest.mark.usefixtures("tiny")
def test_the_epoch_of_the_lowest_validation_loss_is_kept_where_loss_judges(tmp_path: Path) -> None:
    data, config = (
        make_data(per_class=30),
        TrainingConfig(epochs=6, batch_size=16, learning_rate=0.03, judged_by="loss"),
    )
    network = keras.saving.load_model(train(data, config, tmp_path))
    lowest = min(row["val_loss"] for row in training.read_history(tmp_path / "history.csv"))
    validation = divide(data, config).validation
    answers = network.predict(validation.images[..., np.newaxis].astype(np.float32), verbose=0)
    loss = -np.log(np.maximum(answers[np.arange(len(validation)), validation.labels], 1e-7)).mean()
    assert loss == pytest.approx(lowest, abs=1e-3)


CONFIGS = {
    "paper": TrainingConfig(epochs=4, batch_size=8),
    "mixed precision": TrainingConfig(epochs=4, batch_size=8, schedule="cosine", mixed_precision=True),
    "strong": TrainingConfig(
        **{**vars(RECIPES["strong"]), "epochs": 4, "batch_size": 8, "dropout": 1.0, "mixup": 0.2, "small_share": 0.5}
    ),
    "sgd": TrainingConfig(epochs=4, batch_size=8, optimizer="sgd", imbalance="balanced-sampling", small_share=0.5),
}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("epoch", [2, 3])
def test_an_interrupted_run_continues_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: TrainingConfig, epoch: int
) -> None:
    data = make_data()
    train(data, config, tmp_path / "whole")

    def fail_once(path: Path, content: Callable[[Path], object]) -> None:
        """Stop where it hurts most: the history has the epoch, the checkpoint not yet."""
        if path.name == CHECKPOINT and len(training.read_history(path.with_name("history.csv"))) == epoch:
            monkeypatch.setattr(training, "write_whole", write_whole)
            raise KeyboardInterrupt
        write_whole(path, content)

    monkeypatch.setattr(training, "write_whole", fail_once)
    with pytest.raises(KeyboardInterrupt):
        train(data, config, tmp_path / "broken")
    train(data, config, tmp_path / "broken", resume=True)

    assert (tmp_path / "whole/history.csv").read_text() == (tmp_path / "broken/history.csv").read_text()
    whole, broken = (keras.saving.load_model(tmp_path / name / "model.keras") for name in ("whole", "broken"))
    for expected, found in zip(whole.get_weights(), broken.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def moving_mean(model: Path) -> np.ndarray:
    (mean,) = [weight for weight in keras.saving.load_model(model).weights if "moving_mean" in weight.path]
    return np.asarray(keras.ops.convert_to_numpy(mean))


def measured_mean(sides: Sides, model: Path) -> np.ndarray:
    """Return the mean over the images to learn from of what enters the batch normalization."""
    network = keras.saving.load_model(model)
    images = sides.training.images[..., np.newaxis].astype(np.float32)
    for layer in network.layers[:2]:
        images = layer(images)
    return np.asarray(keras.ops.convert_to_numpy(images).mean(axis=(0, 1, 2)))


@pytest.mark.usefixtures("tiny")
def test_averaged_weights_are_what_is_judged_and_kept(tmp_path: Path) -> None:
    data = make_data(per_class=30)
    config = TrainingConfig(epochs=2, batch_size=8)
    averaged = TrainingConfig(epochs=2, batch_size=8, ema=0.9)
    kernels = []
    for settings in (config, averaged):
        model = train(data, settings, tmp_path / str(settings.ema))
        kernels.append(keras.saving.load_model(model).get_weights()[0])
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-5
    # The kept model's batch statistics are those of its own weights.
    np.testing.assert_allclose(moving_mean(model), measured_mean(divide(data, averaged), model), atol=1e-4)
    # Learning itself goes on with the plain weights: both runs learnt the same.
    histories = [training.read_history(tmp_path / name / "history.csv") for name in ("0.0", "0.9")]
    assert [row["loss"] for row in histories[0]] == [row["loss"] for row in histories[1]]


@pytest.mark.usefixtures("tiny")
def test_batch_statistics_are_measured_unless_told_otherwise(tmp_path: Path) -> None:
    data, config = make_data(per_class=30), TrainingConfig(epochs=1, batch_size=8)
    measured = train(data, config, tmp_path / "measured")
    moving = train(data, replace(config, measured_statistics=False), tmp_path / "moving")
    expected = measured_mean(divide(data, config), measured)
    np.testing.assert_allclose(moving_mean(measured), expected, atol=1e-4)
    assert np.abs(moving_mean(moving) - expected).max() > 0.01
    # What is learnt is the same.
    histories = [training.read_history(run.parent / "history.csv") for run in (measured, moving)]
    assert histories[0][0]["loss"] == histories[1][0]["loss"]


@pytest.mark.usefixtures("tiny")
def test_a_run_is_neither_overwritten_nor_mixed_with_another(tmp_path: Path) -> None:
    data, config = make_data(), TrainingConfig(epochs=1, batch_size=8)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train(data, config, tmp_path, resume=True)
    train(data, config, tmp_path)
    with pytest.raises(FileExistsError, match="--resume or give another --out"):
        train(data, config, tmp_path)
    with pytest.raises(ValueError, match=r"batch_size was 8, now 9; ema was 0.0, now 0.5"):
        train(data, TrainingConfig(epochs=1, batch_size=9, ema=0.5), tmp_path, resume=True)
    with pytest.raises(ValueError, match="started with another file or folder in --data: give the same"):
        train(make_data(seed=1), config, tmp_path, resume=True)


@pytest.mark.usefixtures("tiny")
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    data = make_data()
    config = TrainingConfig(epochs=3, batch_size=8, learning_rate=1e30, optimizer="sgd")
    with pytest.raises(FloatingPointError, match=r"became \S+ in epoch 1, batch \d+: .*lower --learning-rate$"):
        train(data, config, tmp_path)
    assert not (tmp_path / "model.keras").exists()


@pytest.mark.usefixtures("tiny")
def test_weights_that_are_no_numbers_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of an epoch can break the weights, and the loss of no step shows it."""
    monkeypatch.setattr(EpochBatches, "__len__", lambda self: 1)
    config = TrainingConfig(epochs=1, batch_size=8, learning_rate=1e39, optimizer="sgd")  # infinite as float32
    with pytest.raises(FloatingPointError, match="the network became nan in epoch 1"):
        train(make_data(), config, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"run.json"}


def break_second_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first weights NaN when the second epoch begins."""
    seed = learner.seed_random_streams

    def spoil(model: object, number: int, epoch: int) -> None:
        seed(model, number, epoch)
        if epoch == 1:
            kernel = model.trainable_variables[0]  # type: ignore[attr-defined]
            kernel.assign(kernel * np.nan)

    monkeypatch.setattr(training, "seed_random_streams", spoil)


@pytest.mark.usefixtures("tiny")
def test_the_last_good_checkpoint_survives_a_loss_that_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config = make_data(), TrainingConfig(epochs=3, batch_size=8)
    with monkeypatch.context() as patch:
        break_second_epoch(patch)
        what = r"epoch 2, batch 1: .* --start .*model.keras; .*npz holds epoch 1"
        with pytest.raises(FloatingPointError, match=what):
            train(data, config, tmp_path)
    train(data, config, tmp_path, resume=True)
    assert len(training.read_history(tmp_path / "history.csv")) == 3


def test_weights_that_max_pooling_hides_from_the_loss_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig(model="resemotenet", width=0.06, epochs=2, batch_size=32)
    break_second_epoch(monkeypatch)
    with pytest.raises(FloatingPointError, match=r"nan.* in epoch 2.*npz holds epoch 1"):
        train(make_data(), config, tmp_path)
    with np.load(tmp_path / CHECKPOINT) as state:
        assert all(np.isfinite(values).all() for values in state.values())


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("history", ["epoch,loss\n1\n", "day,weather\n1,rain\n", "epoch,loss\n1,abc\n"])
def test_a_damaged_history_gets_one_line(tmp_path: Path, history: str) -> None:
    data, config = make_data(), TrainingConfig(epochs=1, batch_size=8)
    train(data, config, tmp_path)
    (tmp_path / "history.csv").write_text(history)
    with pytest.raises(ValueError, match=r"history.csv is damaged, .*: restore it, or start anew in another --out"):
        train(data, config, tmp_path, resume=True)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_history(tmp_path: Path) -> None:
    data = write_csv(make_data(per_class=8), tmp_path / "fer2013.csv")
    arguments = [*NARROW, "--recipe", "strong", "--data", str(data), "--epochs", "4"]
    whole = run_command(*arguments, "--out", str(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    broken = tmp_path / "broken"
    command = [sys.executable, "-m", "train", *arguments, "--out", str(broken)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (broken / "history.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        delay_s = np.random.default_rng().uniform(0, 1)  # anywhere: while training, judging or writing
        print(f"killed {delay_s:.4f} s after the first epoch")  # shown if the test fails
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
    resumed = run_command(*arguments[:1], "--data", str(data), "--out", str(broken), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    for name in ("history.csv", "evaluation.json"):
        assert (broken / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_a_full_disk_costs_the_epoch_in_hand_at_most(tmp_path: Path) -> None:
    data = write_csv(make_data(per_class=8), tmp_path / "fer2013.csv")
    arguments = [*NARROW, "--data", str(data), "--out", str(tmp_path / "run")]
    assert run_command(*arguments, "--epochs", "1").returncode == 0
    before = (tmp_path / "run" / "history.csv").read_text()

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # the checkpoint has more

    run = tmp_path / "run" / "run.json"
    run.write_text(run.read_text().replace('"epochs": 1', '"epochs": 2'))
    full = run_command(*arguments, "--resume", preexec_fn=limit_files)
    assert full.returncode == 1
    last = full.stderr.splitlines()[-1]
    assert re.match(r"error: cannot write epoch 2 into .* make room and --resume, which goes on after epoch 1", last)
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "run").glob(".unfinished*"))
    resumed = run_command(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "run" / "history.csv").read_text().startswith(before)


def test_the_command_trains_and_writes_its_files(tmp_path: Path) -> None:
    data = write_csv(make_data(per_class=8), tmp_path / "fer2013.csv")
    out = tmp_path / "run"
    arguments = ("--data", str(data), "--out", str(out))
    result = run_command(*NARROW, *arguments, "--epochs", "2", "--tensorboard")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if not line.startswith("note: ")]  # eight images a class
    assert re.fullmatch(r"\d+ images to learn from, \d+ to validate on", lines[0])
    assert re.fullmatch(
        r"epoch 1/2: loss [\d.]+, accuracy [\d.]+%; validation loss [\d.]+, accuracy [\d.]+%, the best yet", lines[1]
    )
    assert lines[-1].startswith(f"{out / 'report.md'}: ")
    written = {file.name for file in out.iterdir()}
    figures = {"samples", "augmentation", "classes", "history", "confusion", "recall", "mistakes"}
    assert written == {f"{name}.png" for name in figures} | {
        "run.json", "model.keras", CHECKPOINT, "history.csv", "report.md", "evaluation.json", "tensorboard"
    }  # fmt: skip
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_macro_f1"]
    assert len(rows) == 2

    # What the run was started with need not be said again.
    again = run_command("resemotenet", *arguments, "--resume")
    assert again.returncode == 0, again.stderr
    assert "epoch 3" not in again.stdout


def test_the_bar_shows_the_time_left_and_validation_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"epoch": 1.0, "loss": 1.5, "accuracy": 0.4, "val_loss": 1.25, "val_accuracy": 0.5123, "val_macro_f1": 0.25}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")  # a terminal, for rich
        patch.setenv("COLUMNS", "120")
        with RunProgress(epochs=3, steps_per_epoch=2, history=[row]) as progress:
            progress.step({"loss": 1.25, "accuracy": 0.5})
            time.sleep(0.05)
            progress.step({"loss": 1.125, "accuracy": 0.5})
            progress._bar.refresh()
            progress.epoch_done({**row, "epoch": 2.0, "val_accuracy": 0.4}, is_best=False)
            progress._bar.refresh()
    output = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    assert "epoch 2/3 loss 1.12 accuracy 50.0% validation 51.2% (best 51.2%)" in output
    assert re.search(r"epoch 3/3 validation 40.0% \(best 51.2%\) \S+\s+67 % 0:00:00 left 0:00:0\d", output)
    assert "epoch 2/3: loss 1.5000, accuracy 40.0%; validation loss 1.2500, accuracy 40.00%\n" in output


@pytest.mark.usefixtures("tiny")
def test_tensorboard_gets_the_history_in_order_after_a_resume_too(tmp_path: Path) -> None:
    events = require_module("tensorboard.backend.event_processing.event_accumulator")
    data, config = make_data(), TrainingConfig(epochs=3, batch_size=8)
    sides, facts = divide(data, config), {"data_sha256": data.sha256}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunProgress, "epoch_done", lambda self, row, is_best: stop_after_two(row))
        with pytest.raises(KeyboardInterrupt):
            training.train(sides, config, tmp_path, facts, tensorboard=True)
    training.train(sides, config, tmp_path, facts, resume=True, tensorboard=True)
    log = events.EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={events.TENSORS: 0})
    log.Reload()
    assert "accuracy/validation" in log.Tags()["tensors"]
    found = [(event.step, event.tensor_proto.float_val[0]) for event in log.Tensors("loss/validation")]
    history = training.read_history(tmp_path / "history.csv")
    assert found == [(row["epoch"], pytest.approx(row["val_loss"])) for row in history]


def stop_after_two(row: dict[str, float]) -> None:
    if row["epoch"] == 2:
        raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_train_and_give_a_file_that_converts(tmp_path: Path, backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch", reason="torch is large and optional: pip install torch")
    else:
        require_module("jax")
    data = write_csv(make_data(per_class=20), tmp_path / "fer2013.csv")
    out = tmp_path / "run"
    arguments = ("--recipe", "strong", "--data", str(data), "--out", str(out), "--epochs", "1")
    result = run_command(*NARROW, *arguments, env={"KERAS_BACKEND": backend})
    assert result.returncode == 0, result.stderr
    assert f"on {backend} " in (out / "report.md").read_text()
    command = [sys.executable, "-m", "convert", str(out), "--data", str(data), "--calibration-size", "70"]
    converted = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert converted.returncode == 0, converted.stderr
    assert (out / "resemotenet_int8.tflite").exists()


def test_the_list_says_what_each_network_costs() -> None:
    result = run_command("--list")
    assert result.returncode == 0, result.stderr
    assert "cnn             1.00       1.18 M         341.1 M      4.72 MB     1.21 MB" in result.stdout.splitlines()
    narrow = run_command("--list", "--width", "0.24").stdout
    assert re.search(r"cnn             0.24 .*\nresemotenet     0.24       5.61 M .* 5.7\d MB\n", narrow)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["cnn", "--data", "nothing.csv"], 1, "error: no data at nothing.csv"),
        (["cnn", "--data", "README.md"], 1, "error: README.md lacks the column 'emotion'"),
        (["cnn", "--data", "docs"], 1, "error: docs holds neither train/ and test/"),
        (["cnn", "--data", "x.csv", "--epochs", "0"], 1, "error: epochs 0"),
        (["cnn", "--data", "x.csv", "--resume"], 1, "holds no run: there is nothing to resume"),
        (["cnn", "--data", "x.csv", "--start", "no.keras"], 1, "error: no file at no.keras"),
        (["vgg", "--data", "x.csv"], 2, "invalid choice: 'vgg'"),
        (["cnn"], 2, "give --data"),
        (["resemotenet", "--list", "--width", "1e300"], 1, "error: width 1e+300 must be at most 4.0"),
        (["--data", "x.csv"], 2, "give a model"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    result = run_command(*arguments, "--out", str(tmp_path / "run"))
    assert result.returncode == code
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "paper", "fer_plus": "soft"}, "--fer-plus soft and --fer-plus-votes FILE go together"),
        ({"out": REPOSITORY / "README.md"}, r"--out \S+README.md is a file: give a folder"),
    ],
)
def test_mistakes_are_found_before_the_data_are_read(
    settings: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["cnn", "--data", "nothing.csv", "--out", str(tmp_path / "run"), *words]) == 1
    assert re.fullmatch(f"error: {message}.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("is_begun", "message"), [(False, "stopped"), (True, "stopped: --resume goes on after the last whole epoch")]
)
def test_resume_is_promised_where_there_is_a_run(
    is_begun: bool,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(path: str) -> None:
        if is_begun:
            write_run(tmp_path, TrainingConfig(), {})
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.own_images.load_data", stop)
    assert main(["cnn", "--data", "fer2013.csv", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err.strip() == message


def test_a_start_that_saw_the_validation_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_data()
    table, start = write_csv(data, tmp_path / "fer2013.csv"), tmp_path / "start"
    start.mkdir()
    (start / "model.keras").write_bytes(b"")
    write_run(start, TrainingConfig(seed=1), {"data_sha256": data.sha256})
    arguments = ["cnn", "--data", str(table), "--out", str(tmp_path / "run"), "--start", str(start / "model.keras")]
    assert main(arguments) == 1
    assert "start has seed 1, this run 0: it has learnt from images that this run" in capsys.readouterr().err


def test_a_resumed_run_knows_what_it_was_given(tmp_path: Path) -> None:
    given = {"start": "a/model.keras", "fer_plus_votes": "votes.csv", "teacher": ["b", "c"]}
    write_run(tmp_path, TrainingConfig(), given)
    options = {"model": "cnn", "data": "x.csv", "out": tmp_path, "resume": True}
    options |= {"start": None, "fer_plus_votes": None, "teacher": []}
    settle(options)
    assert (options["start"], options["fer_plus_votes"]) == (Path("a/model.keras"), Path("votes.csv"))
    assert options["teacher"] == [Path("b"), Path("c")]


def test_a_narrow_network_to_start_from_brings_its_width(tmp_path: Path) -> None:
    write_run(tmp_path, TrainingConfig(model="resemotenet", width=0.24), {})
    options = vars(build_parser().parse_args(["resemotenet", "--data", "x.csv", "--recipe", "fine-tune"]))
    options |= {"start": tmp_path / "model.keras", "out": None, "resume": False, "teacher": []}
    assert settle(dict(options)).width == 0.24
    assert settle({**options, "width": 0.5}).width == 0.5
    assert settle({**options, "start": tmp_path / "elsewhere" / "model.keras"}).width == 1


def test_a_mien_net_to_start_from_brings_its_shape(tmp_path: Path) -> None:
    write_run(tmp_path, TrainingConfig(model="mien_net", shape="late"), {})
    options = vars(build_parser().parse_args(["mien_net", "--data", "x.csv", "--recipe", "fine-tune"]))
    options |= {"start": tmp_path / "model.keras", "out": None, "resume": False, "teacher": []}
    assert settle(dict(options)).shape == "late"
    assert settle({**options, "shape": "deep"}).shape == "deep"
