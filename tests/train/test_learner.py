"""Logit adjustment is the paper's formula; the schedule and the optimizer are what the settings say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require_module

keras = require_module("keras")

from train.config import RECIPES, TrainingConfig
from train.learner import (
    LogitAdjustedCrossentropy,
    build_learner,
    build_network,
    image_size,
    load_network,
    load_state,
    measure_batch_statistics,
    save_state,
)
from train.models import build

pytestmark = pytest.mark.tensorflow

SHARES = np.array([0.14, 0.015, 0.14, 0.25, 0.17, 0.11, 0.175])
TINY = TrainingConfig(width=0.125)


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def test_logit_adjustment_is_cross_entropy_of_logits_plus_log_shares() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 7)), rng.integers(0, 7, 50)
    expected = -np.log(softmax(logits + 0.5 * np.log(SHARES))[np.arange(50), labels])
    loss = LogitAdjustedCrossentropy(SHARES**0.5)
    found = loss.call(np.eye(7, dtype=np.float32)[labels], softmax(logits).astype(np.float32))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-4)


def test_equal_shares_change_nothing() -> None:
    probabilities = softmax(np.random.default_rng(1).normal(size=(9, 7))).astype(np.float32)
    labels = np.eye(7, dtype=np.float32)[np.arange(9) % 7]
    plain = keras.losses.categorical_crossentropy(labels, probabilities, label_smoothing=0.1)
    found = LogitAdjustedCrossentropy(np.full(7, 1 / 7), label_smoothing=0.1).call(labels, probabilities)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(plain), rtol=1e-5)


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = replace(TINY, schedule="cosine", warmup_share=0.1, learning_rate=0.01)
    learner, _ = build_learner(config, 48, 100, SHARES)
    rate = learner.optimizer._learning_rate
    values = [float(rate(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(values, [0, 0.005, 0.01, 0.005, 0], atol=1e-6)


def test_the_paper_trains_with_plain_adam() -> None:
    learner, _ = build_learner(TINY, 48, 100, SHARES)
    optimizer = learner.optimizer
    assert type(optimizer).__name__ == "Adam"
    assert float(optimizer.learning_rate) == pytest.approx(0.001)
    assert (optimizer.weight_decay, optimizer.use_ema) == (None, False)


def test_weight_decay_leaves_biases_and_batch_normalization_alone() -> None:
    learner, network = build_learner(replace(TINY, weight_decay=0.1), 48, 100, SHARES)
    decayed = {
        variable.path.rsplit("/", 1)[-1]
        for variable in network.trainable_variables
        if learner.optimizer._use_weight_decay(variable)
    }
    assert decayed == {"kernel"}


def test_a_short_run_does_not_average_over_its_random_start() -> None:
    momenta = [
        build_learner(replace(TINY, ema=0.998), 48, steps, SHARES)[0].optimizer.ema_momentum
        for steps in (5, 100, 100_000)
    ]
    assert momenta == [0, 0.9, 0.998]


def test_small_images_come_first() -> None:
    config = replace(RECIPES["strong"], epochs=4, small_share=0.5)
    assert [image_size(config, epoch) for epoch in range(4)] == [32, 32, 48, 48]
    assert [image_size(TrainingConfig(), epoch) for epoch in (0, 49)] == [48, 48]


def test_batch_statistics_become_those_of_the_images() -> None:
    images = np.random.default_rng(0).normal(100, 30, (600, 48, 48, 1)).astype(np.float32)
    normalization = keras.layers.BatchNormalization()
    network = keras.Sequential([keras.Input((48, 48, 1)), normalization])
    measure_batch_statistics(network, images, batch_size=256)  # the last batch has 88 images
    assert float(normalization.moving_mean[0]) == pytest.approx(images.mean(), rel=1e-4)
    assert float(normalization.moving_variance[0]) == pytest.approx(images.var(), rel=1e-3)
    assert normalization.momentum == 0.99


def test_a_state_is_read_back_to_the_bit(tmp_path: Path) -> None:
    config = replace(TINY, ema=0.9)
    learner, _ = build_learner(config, 48, 100, SHARES)
    images, labels = np.zeros((8, 48, 48, 1), np.float32), np.eye(7, dtype=np.float32)[[0] * 8]
    learner.train_on_batch(images, labels)
    save_state(learner, tmp_path / "state.npz")
    other, _ = build_learner(replace(config, seed=1), 32, 100, SHARES)  # the size of the images does not matter
    load_state(other, tmp_path / "state.npz")
    for expected, found in zip(learner.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(variable) for variable in (found, expected)))
    for expected, found in zip(learner.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    (tmp_path / "state.npz").write_bytes((tmp_path / "state.npz").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"state.npz cannot be read .* start anew"):
        load_state(other, tmp_path / "state.npz")


@pytest.mark.parametrize("content", [b"no model", b"", b"PK\x05\x06" + bytes(18)], ids=["text", "empty", "empty zip"])
def test_a_file_that_is_no_model_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"^\S+model.keras cannot be loaded as a Keras model \(.*\): give"):
        load_network(tmp_path / "model.keras")


def test_half_a_model_is_refused_in_one_line(tmp_path: Path) -> None:
    build("cnn", width=0.1).save(tmp_path / "model.keras")
    (tmp_path / "half.keras").write_bytes((tmp_path / "model.keras").read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"^\S+half.keras cannot be loaded as a Keras model \(.*\): give"):
        load_network(tmp_path / "half.keras")


def test_tensorflow_trains_without_xla() -> None:
    """XLA has no kernel for its affine transform; without a GPU here, the setting is all that can be tested."""
    assert build_learner(TINY, 48, 100, SHARES)[0].jit_compile is False


@pytest.mark.parametrize(("model", "shape"), [("mini_xception", "base"), ("mien_net", "base"), ("mien_net", "folding")])
def test_strided_pointwise_convolutions_learn_as_they_are_defined_and_safely(model: str, shape: str) -> None:
    config = TrainingConfig(model=model, shape=shape, width=1.0 if model == "mini_xception" else 0.25, dropout=0.0)
    learner, network = build_learner(config, 48, 10, SHARES)
    defined = build_network(config)
    defined.set_weights(network.get_weights())
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (16, 48, 48, 1)).astype(np.float32)
    np.testing.assert_allclose(network(images, training=True), defined(images, training=True), atol=1e-4)
    # On an AMD EPYC with AVX-512, TensorFlow's own gradient of them ends the process.
    for _ in range(3):
        loss = learner.train_on_batch(images, np.eye(7, dtype=np.float32)[rng.integers(0, 7, 16)])[0]
        assert np.isfinite(loss)
