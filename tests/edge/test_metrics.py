"""Figures of merit are those that everyone else computes."""

import numpy as np
import pytest

from mien.metrics import measure
from tests.conftest import require_module


def make_answers(count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Make labels and probabilities that are right in about two of three cases."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, count).astype(np.uint8)
    logits = rng.normal(size=(count, 7)) + 2 * np.eye(7)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_metrics_agree_with_scikit_learn() -> None:
    metrics = require_module("sklearn.metrics")
    labels, probabilities = make_answers()
    found, predictions = measure(labels, probabilities), probabilities.argmax(axis=1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(labels, predictions, average="macro"))
    assert list(found.recall.values()) == pytest.approx(metrics.recall_score(labels, predictions, average=None))
    assert list(found.precision.values()) == pytest.approx(metrics.precision_score(labels, predictions, average=None))
    assert found.log_loss == pytest.approx(metrics.log_loss(labels, probabilities))
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(labels, predictions))


def test_a_class_without_images_does_not_count_in_macro_f1() -> None:
    metrics = require_module("sklearn.metrics")
    labels, probabilities = make_answers()
    keep = (labels != 1) & (labels != 5)
    labels, probabilities = labels[keep], probabilities[keep]
    expected = metrics.f1_score(labels, probabilities.argmax(axis=1), labels=[0, 2, 3, 4, 6], average="macro")
    assert measure(labels, probabilities).macro_f1 == pytest.approx(expected)
    assert measure(labels, np.eye(7)[labels]).macro_f1 == 1


def test_the_interval_is_that_of_a_share() -> None:
    labels = np.zeros(7178, np.uint8)
    predictions = (np.arange(7178) >= 0.626 * 7178).astype(np.intp)
    assert measure(labels, np.eye(7)[predictions]).interval == pytest.approx(0.0112, abs=0.0001)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    labels = np.arange(100).astype(np.uint8) % 2
    says_first = np.tile([0.7, 0.3, 0, 0, 0, 0, 0], (100, 1))  # 70 % sure, right half of the time
    assert measure(labels, says_first).calibration_error == pytest.approx(0.2)
    # Two bins, one too sure and one not sure enough, must not cancel out.
    second = np.tile([0.3, 0.7, 0, 0, 0, 0, 0], (50, 1))
    both = np.concatenate([np.tile([0.9, 0.1, 0, 0, 0, 0, 0], (50, 1)), second])
    labels = np.concatenate([np.zeros(25), np.ones(25), np.ones(50)]).astype(np.uint8)
    assert measure(labels, both).calibration_error == pytest.approx(0.5 * 0.4 + 0.5 * 0.3)
    assert measure(np.zeros(5, np.uint8), np.eye(7)[np.zeros(5, int)]).calibration_error == 0


def test_a_class_that_is_never_named_has_no_precision_and_no_recall() -> None:
    found = measure(np.array([0, 1], np.uint8), np.eye(7)[[0, 0]])
    assert (found.recall["disgust"], found.precision["disgust"], found.precision["angry"]) == (0, 0, 0.5)


def test_without_images_there_is_no_accuracy() -> None:
    with pytest.raises(ValueError, match="no images to measure"):
        measure(np.empty(0, np.uint8), np.empty((0, 7)))
