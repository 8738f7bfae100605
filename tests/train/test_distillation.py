"""A pupil learns what its teachers answer, and only from teachers that have not seen its validation images."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.fer2013 import Fer2013
from tests.conftest import make_data, require_module, write_csv
from tests.train.test_training import NARROW, run_command

keras = require_module("keras")

from train import distillation
from train.batches import class_shares, divide, one_hot
from train.config import TrainingConfig, write_run
from train.distillation import SOFT_LABELS, distil

pytestmark = pytest.mark.tensorflow

CONFIG = TrainingConfig(teacher_share=0.5)
ANSWER = np.array([0.3, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1], np.float32)


def write_teacher(run: Path, data: Fer2013, config: TrainingConfig = CONFIG, answer: np.ndarray = ANSWER) -> Path:
    """Write a finished run whose network answers the same to every image."""
    image = keras.Input((48, 48, 1))
    last = keras.layers.Dense(7, "softmax", kernel_initializer="zeros")
    network = keras.Model(image, last(keras.layers.Flatten()(image)))
    last.bias.assign(np.log(answer))
    run.mkdir()
    network.save(run / "model.keras")
    write_run(run, config, {"data_sha256": data.sha256})
    (run / "evaluation.json").write_text("{}")
    return run


def test_labels_are_mixed_with_the_mean_of_the_teachers_answers(tmp_path: Path) -> None:
    data = make_data()
    sides = divide(data, CONFIG)
    teachers = [write_teacher(tmp_path / "a", data), write_teacher(tmp_path / "b", data, answer=ANSWER[::-1])]
    targets = distil(sides, teachers, CONFIG, tmp_path / "run", data.sha256).targets
    expected = 0.5 * one_hot(sides.training.labels) + 0.25 * (ANSWER + ANSWER[::-1])
    np.testing.assert_allclose(targets, expected, atol=1e-5)


@pytest.mark.parametrize("imbalance", ["logit-adjustment", "class-weights", "balanced-sampling"])
def test_a_teacher_that_makes_up_for_rarity_passes_on_the_real_shares(tmp_path: Path, imbalance: str) -> None:
    data = make_data(per_class=20)
    data = data.rows((data.labels != 1) | (np.cumsum(data.labels == 1) <= 5))
    sides = divide(data, CONFIG)
    teacher = write_teacher(tmp_path / "a", data, replace(CONFIG, imbalance=imbalance, imbalance_power=0.5))
    targets = distil(sides, [teacher], CONFIG, tmp_path / "run", data.sha256).targets
    expected = ANSWER * class_shares(sides.training.labels) ** 0.5
    answers = 2 * targets - one_hot(sides.training.labels)
    np.testing.assert_allclose(answers, np.tile(expected / expected.sum(), (len(targets), 1)), atol=1e-5)


def test_a_resumed_run_does_not_ask_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data()
    sides, teacher = divide(data, CONFIG), write_teacher(tmp_path / "a", data)
    first = distil(sides, [teacher], CONFIG, tmp_path / "run", data.sha256)
    assert [file.name for file in (tmp_path / "run").iterdir()] == [SOFT_LABELS]
    monkeypatch.setattr(distillation, "ask", None)
    second = distil(sides, [teacher], CONFIG, tmp_path / "run", data.sha256, resume=True)
    np.testing.assert_array_equal(first.targets, second.targets)
    with pytest.raises(TypeError):  # another run does not take them
        distil(sides, [teacher], CONFIG, tmp_path / "run", data.sha256)


@pytest.mark.parametrize(
    ("config", "leave_out", "message"),
    [
        (CONFIG, "evaluation.json", "has no evaluation.json: give the folder of a finished run"),
        (CONFIG, "data", "learnt from other data"),
        (replace(CONFIG, seed=1), "", "has seed 0, this run 1: it has learnt from images that this run validates on"),
        (replace(CONFIG, validation_share=0.3), "", "has validation share 0.2, this run 0.3"),
    ],
)
def test_a_teacher_of_other_images_is_refused(
    tmp_path: Path, config: TrainingConfig, leave_out: str, message: str
) -> None:
    data = make_data()
    teacher = write_teacher(tmp_path / "a", data if leave_out != "data" else make_data(seed=1))
    if leave_out == "evaluation.json":
        (teacher / leave_out).unlink()
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        distil(divide(data, config), [teacher], config, tmp_path / "run", data.sha256)


def test_a_pupil_may_validate_on_less_than_its_teacher(tmp_path: Path) -> None:
    data = make_data(per_class=20)
    teacher, config = write_teacher(tmp_path / "a", data), replace(CONFIG, validation_share=0.1)
    sides = distil(divide(data, config), [teacher], config, tmp_path / "run", data.sha256)
    assert len(sides.targets) > len(divide(data, CONFIG).targets)


def test_the_command_takes_a_run_as_a_teacher(tmp_path: Path) -> None:
    arguments = ["--data", str(write_csv(make_data(), tmp_path / "fer2013.csv"))]
    teacher, pupil = str(tmp_path / "teacher"), ["--out", str(tmp_path / "pupil")]
    missing = run_command(*NARROW, *arguments, *pupil, "--epochs", "1", "--teacher", teacher)
    assert (missing.returncode, missing.stderr) == (1, f"error: no file at {teacher}/model.keras\n")
    assert run_command(*NARROW, *arguments, "--out", teacher, "--epochs", "1").returncode == 0
    result = run_command(*NARROW, *arguments, *pupil, "--epochs", "1", "--teacher", teacher)
    assert result.returncode == 0, result.stderr
    assert f"--teacher {teacher}\n" in (tmp_path / "pupil" / "report.md").read_text()
    assert len(json.loads((tmp_path / "pupil" / "run.json").read_text())["teachers_sha256"]) == 1
    resumed = run_command("resemotenet", *arguments, *pupil, "--resume")  # remembers its teacher
    assert resumed.returncode == 0, resumed.stderr
    labels = tmp_path / "pupil" / SOFT_LABELS
    labels.write_bytes(labels.read_bytes()[:200])
    damaged = run_command("resemotenet", *arguments, *pupil, "--resume").stderr.splitlines()[-1]
    assert re.match(r"error: \S+soft_labels.npy cannot be read \(.*\): remove it, and the teachers", damaged)
    other = run_command("resemotenet", *arguments, *pupil, "--resume", "--teacher", str(tmp_path / "pupil"))
    assert "was started with another --teacher: give the same one" in other.stderr
