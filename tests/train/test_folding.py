"""What learns in branches answers as one convolution, and is kept as one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.metrics import measure
from tests.conftest import make_data, require_module

keras = require_module("keras")

from train.batches import as_input, divide
from train.complexity import measure_complexity
from train.config import TrainingConfig
from train.learner import measure_batch_statistics
from train.models import build
from train.models.folding import FoldingConv2D
from train.models.shapes import SHAPES, plain_shape
from train.training import read_history, train

pytestmark = pytest.mark.tensorflow


def make_trained(filters: int, strides: int, channels: int) -> FoldingConv2D:
    """Return a layer whose batch statistics and factors are those of no fresh one."""
    layer = FoldingConv2D(filters, strides)
    layer.build((None, 8, 8, channels))
    rng = np.random.default_rng(0)
    for norm in layer.normalizations:
        norm.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in norm.get_weights()])
    return layer


@pytest.mark.parametrize(("filters", "strides", "channels"), [(4, 1, 4), (6, 1, 4), (6, 2, 4), (4, 2, 4)])
def test_one_convolution_gives_what_the_branches_give(filters: int, strides: int, channels: int) -> None:
    layer = make_trained(filters, strides, channels)
    x = np.random.default_rng(1).normal(0, 1, (3, 8, 8, channels)).astype(np.float32)
    large = layer.large_norm(layer.large(x), training=False)
    small = layer.small_norm(layer.small(x), training=False)
    expected = large + small
    if filters == channels and strides == 1:
        expected += layer.identity_norm(x, training=False)
    found = layer(x, training=False)
    assert found.shape == (3, 8 // strides, 8 // strides, filters)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # float32 in another order


def test_the_folded_network_costs_what_the_plain_one_costs() -> None:
    folding, plain = (measure_complexity(build("mien_net", shape=shape)) for shape in ("folding", "base"))
    assert folding.multiply_adds == plain.multiply_adds
    assert folding.int8_bytes == plain.int8_bytes
    assert folding.parameters > plain.parameters


def test_batch_statistics_are_measured_in_the_branches_too() -> None:
    network = build("mien_net", width=0.25, shape="folding")
    images = as_input(make_data().images)
    measure_batch_statistics(network, images, batch_size=len(images))
    answers = network(images, training=False)
    # With the statistics of these very images in every branch, folded answers are those of learning, without dropout.
    expected = build("mien_net", width=0.25, dropout=0.0, shape="folding")
    expected.set_weights(network.get_weights())
    np.testing.assert_allclose(answers, expected(images, training=True), atol=1e-3)


def test_the_model_that_is_kept_has_no_branches_and_gives_the_same_answers(tmp_path: Path) -> None:
    data = make_data()
    config = TrainingConfig(model="mien_net", shape="folding", width=0.25, epochs=1, batch_size=8)
    sides = divide(data, config)
    kept = keras.saving.load_model(train(sides, config, tmp_path, {}), compile=False)
    kinds = {type(layer).__name__ for layer in kept.layers}
    assert kinds == {type(layer).__name__ for layer in build("mien_net").layers}
    (row,) = read_history(tmp_path / "history.csv")
    probabilities = kept.predict(as_input(sides.validation.images), verbose=0)
    assert measure(sides.validation.labels, probabilities).log_loss == pytest.approx(row["val_loss"], abs=2e-4)
    # What goes on from it has no branches either.
    again = replace(config, shape=plain_shape("folding"))
    train(sides, again, tmp_path / "again", {}, start=tmp_path / "model.keras")


def test_every_shape_is_kept_in_a_plain_one() -> None:
    assert plain_shape("folding") == "base"
    assert [plain_shape(shape) for shape in SHAPES if shape != "folding"] == [s for s in SHAPES if s != "folding"]
