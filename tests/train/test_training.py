"""Training writes what it promises, and an interruption costs nothing but time."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY, make_data, require_module, write_csv

keras = require_module("keras")

from train import training
from train.config import TrainingConfig
from train.models import build

pytestmark = pytest.mark.tensorflow


def build_tiny() -> object:
    """Build a network with all that matters for resuming: batch statistics and dropout."""
    layers = keras.layers
    network = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=4), layers.BatchNormalization(), layers.ReLU()]
    network += [layers.Flatten(), layers.Dropout(0.3), layers.Dense(7, activation="softmax", dtype="float32")]
    return keras.Sequential([keras.Input((48, 48, 1)), *network], name="cnn")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "build", lambda name: build_tiny())


def test_the_cnn_is_the_papers() -> None:
    cnn = build("cnn")
    assert cnn.count_params() == 1_182_151
    names = [type(layer).__name__ for layer in cnn.layers]
    convolution = ["Conv2D", "BatchNormalization", "ReLU"]
    stage = [*convolution, *convolution, "MaxPooling2D", "Dropout"]
    head = ["GlobalAveragePooling2D", "Dense", "BatchNormalization", "ReLU", "Dropout", "Dense"]
    assert names == ["InputLayer", "Rescaling", *stage * 3, *head]
    filters = [layer.filters for layer in cnn.layers if isinstance(layer, keras.layers.Conv2D)]
    assert filters == [64, 64, 128, 128, 256, 256]
    dropouts = [layer.rate for layer in cnn.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == [0.25, 0.35, 0.45, 0.45]


def test_the_defaults_are_the_papers_protocol() -> None:
    config = TrainingConfig()
    assert (config.epochs, config.batch_size, config.learning_rate) == (50, 64, 0.001)
    assert (config.schedule, config.validation_share, config.mixed_precision) == ("constant", 0.2, False)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "vgg"},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"schedule": "linear"},
        {"validation_share": 1.0},
    ],
)
def test_a_setting_out_of_range_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(change.values())))):
        TrainingConfig(**change)  # type: ignore[arg-type]


@pytest.mark.usefixtures("tiny")
def test_a_network_learns_what_can_be_learnt(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=12, batch_size=16, learning_rate=0.01, rotation_degrees=0, zoom=0, shift=0)
    model = training.train(make_data(per_class=30), config, tmp_path / "run")
    history = training.read_history(tmp_path / "run" / "history.csv")
    assert max(row["val_accuracy"] for row in history) > 0.9
    network = keras.saving.load_model(model)
    test = make_data(per_class=30).test
    predictions = network.predict(test.images[..., np.newaxis].astype(np.float32), verbose=0).argmax(axis=1)
    assert (predictions == test.labels).mean() > 0.9


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("mixed_precision", [False, True])
def test_an_interrupted_run_continues_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixed_precision: bool
) -> None:
    data = make_data()
    config = TrainingConfig(epochs=4, batch_size=8, schedule="cosine", mixed_precision=mixed_precision)
    training.train(data, config, tmp_path / "whole")

    saved = training._save

    def fail_once(model: object, path: Path) -> None:
        """Stop where it hurts most: the history has epoch 3, the checkpoint still epoch 2."""
        if path.name == "checkpoint.keras" and len(training.read_history(path.with_name("history.csv"))) == 3:
            monkeypatch.setattr(training, "_save", saved)
            raise KeyboardInterrupt
        saved(model, path)

    monkeypatch.setattr(training, "_save", fail_once)
    with pytest.raises(KeyboardInterrupt):
        training.train(data, config, tmp_path / "broken")
    training.train(data, config, tmp_path / "broken", resume=True)

    assert (tmp_path / "whole/history.csv").read_text() == (tmp_path / "broken/history.csv").read_text()
    for file in ("checkpoint.keras", "model.keras"):
        whole, broken = (keras.saving.load_model(tmp_path / name / file) for name in ("whole", "broken"))
        for expected, found in zip(whole.get_weights(), broken.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("tiny")
def test_a_run_is_neither_overwritten_nor_mixed_with_another(tmp_path: Path) -> None:
    data, config = make_data(), TrainingConfig(epochs=1, batch_size=8)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        training.train(data, config, tmp_path, resume=True)
    training.train(data, config, tmp_path)
    with pytest.raises(FileExistsError, match="--resume or give another --out"):
        training.train(data, config, tmp_path)
    with pytest.raises(ValueError, match="seed was 0, now 1"):
        training.train(data, TrainingConfig(epochs=1, batch_size=8, seed=1), tmp_path, resume=True)
    with pytest.raises(ValueError, match="other data"):
        training.train(make_data(seed=1), config, tmp_path, resume=True)


@pytest.mark.usefixtures("tiny")
def test_a_run_stopped_in_its_first_epoch_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, config = make_data(), TrainingConfig(epochs=1, batch_size=8)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "EpochBatches", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        training.train(data, config, tmp_path / "broken")
    training.train(data, config, tmp_path / "broken", resume=True)
    training.train(data, config, tmp_path / "whole")
    assert (tmp_path / "whole/history.csv").read_text() == (tmp_path / "broken/history.csv").read_text()


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "train", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


def test_the_command_trains_the_cnn_and_writes_its_files(tmp_path: Path) -> None:
    data = write_csv(make_data(per_class=3), tmp_path / "fer2013.csv")
    result = run_command("cnn", "--data", str(data), "--out", str(tmp_path / "run"), "--epochs", "1")
    assert result.returncode == 0, result.stderr
    assert "val_accuracy" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"{tmp_path / 'run' / 'model.keras'}: validation accuracy ")
    written = {file.name for file in (tmp_path / "run").iterdir()}
    assert written == {"run.json", "model.keras", "checkpoint.keras", "history.csv", "history.png"}
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]

    # What the run was started with need not be said again.
    again = run_command("cnn", "--data", str(data), "--out", str(tmp_path / "run"), "--resume")
    assert again.returncode == 0, again.stderr
    assert "step" not in again.stdout  # one epoch of one was trained already


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["cnn", "--data", "nothing.csv"], 1, "error: no data at nothing.csv"),
        (["cnn", "--data", "README.md"], 1, "error: README.md lacks the column 'emotion'"),
        (["cnn", "--data", "docs"], 1, "error: docs has no folder train/"),
        (["cnn", "--data", "x.csv", "--epochs", "0"], 1, "error: epochs 0"),
        (["cnn", "--data", "x.csv", "--resume"], 1, "holds no run: there is nothing to resume"),
        (["vgg", "--data", "x.csv"], 2, "invalid choice: 'vgg'"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    result = run_command(*arguments, "--out", str(tmp_path / "run"))
    assert result.returncode == code
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()
