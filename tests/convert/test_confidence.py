"""A confidence of 0.8 is right in 80 % of cases, and what is a guess is called unsure."""

import json
from pathlib import Path

import numpy as np
import pytest

from mien.classifier import at_temperature
from mien.emotions import EMOTIONS
from mien.metrics import measure
from tests.conftest import make_data, require_module

require_module("scipy")

from convert.confidence import choose_confidence, choose_temperature, choose_thresholds, validation_rows
from convert.pictures import from_faces


def make_answers(count: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Make answers that are right as often as they say once their logits are divided by `temperature`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (count, 7))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (honest.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(0, 6).astype(np.uint8)
    given = np.exp(logits * temperature)
    return (given / given.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_the_temperature_makes_confidence_honest(temperature: float) -> None:
    probabilities, labels = make_answers(20_000, temperature)
    assert choose_temperature(probabilities, labels, "float32") == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5, 2.0])
def test_what_int8_rounds_away_is_made_up_for(temperature: float) -> None:
    probabilities, labels = make_answers(20_000, temperature)
    rounded = (np.round(probabilities * 256) / 256).astype(np.float32)
    before = rounded.copy()
    chosen = choose_confidence(rounded, labels, "int8")
    np.testing.assert_array_equal(rounded, before)
    scaled = at_temperature(rounded, chosen.temperature, "int8")
    assert measure(labels, scaled).calibration_error == pytest.approx(chosen.error)
    assert chosen.error < 0.03  # what is asked of our models
    assert chosen.error <= chosen.error_before + 0.005


def test_a_threshold_leaves_out_what_is_wrong_more_often_than_right() -> None:
    probabilities, labels = make_answers(40_000, 1.0)
    thresholds = choose_thresholds(probabilities, labels)
    assert list(thresholds) == list(EMOTIONS)
    # An honest answer is right in half of the cases at 0.5; each class has some 5,700 answers.
    assert all(0.44 < threshold < 0.56 for threshold in thresholds.values())


def test_classes_that_are_always_or_never_right_have_thresholds_too() -> None:
    probabilities = np.eye(7, dtype=np.float32)[[0] * 100 + [1] * 100 + [2] * 99] * 0.6 + 0.4 / 7
    thresholds = choose_thresholds(probabilities, np.array([0] * 100 + [2] * 199, np.uint8))
    assert (thresholds["angry"], thresholds["disgust"]) == (0.0, 1.0)
    assert (thresholds["fear"], thresholds["sad"]) == (0.5, 0.5)  # too few answers to tell


def test_equal_confidences_are_never_cut_apart() -> None:
    probabilities = np.eye(7, dtype=np.float32)[[0] * 120] * 0.6 + 0.4 / 7
    labels = np.array([0] * 50 + [1] * 70, np.uint8)  # more wrong than right, the right ones first
    assert choose_thresholds(probabilities, labels)["angry"] == 1.0


def test_the_validation_images_are_those_of_the_run(tmp_path: Path) -> None:
    data = make_data(per_class=20)
    assert validation_rows(tmp_path, from_faces(data)) is None
    run = {"seed": 3, "validation_share": 0.2, "data_sha256": data.sha256}
    (tmp_path / "run.json").write_text(json.dumps(run))
    found = validation_rows(tmp_path, from_faces(data))
    assert found is not None
    np.testing.assert_array_equal(found, data.split_training(0.2, 3)[1])
    assert validation_rows(tmp_path, from_faces(make_data(seed=1))) is None
    (tmp_path / "run.json").write_text(json.dumps(run | {"seed": "x"}))
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        validation_rows(tmp_path, from_faces(data))
