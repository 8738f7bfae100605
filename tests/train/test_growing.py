"""A larger MienNet that starts from a smaller one answers the same, and learns with all that it has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY, make_data, require_module

keras = require_module("keras")

from train.batches import as_input, divide
from train.config import TrainingConfig
from train.growing import grow
from train.learner import load_network
from train.models import build
from train.training import train

pytestmark = pytest.mark.tensorflow


SMALL = REPOSITORY / "models" / "mien_net" / "model.keras"


def answers(network: keras.Model) -> np.ndarray:
    return np.asarray(network.predict(as_input(make_data().images[:40]), verbose=0))


@pytest.mark.parametrize(
    ("width", "shape"), [(2.0, "small"), (1.5, "small"), (1.0, "small-late"), (2.0, "small-early")]
)
def test_a_grown_network_answers_as_the_small_one(width: float, shape: str) -> None:
    small, grown = load_network(SMALL), build("mien_net", width=width, shape=shape)
    grow(small, grown, seed=0)
    assert grown.count_params() > small.count_params()
    np.testing.assert_allclose(answers(grown), answers(small), atol=1e-5)  # float32 in another order
    assert np.ptp(answers(small), axis=0).max() > 0.01  # it does not say the same of all images


def test_copies_of_a_channel_part_as_they_learn() -> None:
    small, grown = load_network(SMALL), build("mien_net", width=2.0, shape="small-late")
    grow(small, grown, seed=0)
    images = as_input(make_data().images[:32])
    labels = np.eye(7, dtype=np.float32)[make_data().labels[:32]]
    grown.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    before = {layer.name: layer.get_weights()[0] for layer in grown.layers if layer.weights}
    for _ in range(2):  # in the first step a new block's last norm alone learns
        grown.train_on_batch(images, labels)
    first = grown.get_layer("stage3_block1_first").get_weights()[0] - before["stage3_block1_first"]
    half = first.shape[-1] // 2
    assert np.abs(first[..., :half] - first[..., half:]).max() > 0.1 * np.abs(first).max()
    new = grown.get_layer("stage3_block3_first").get_weights()[0]
    assert np.abs(new - before["stage3_block3_first"]).max() > 0


@pytest.mark.parametrize(
    ("width", "shape", "message"),
    [
        (0.5, "small", "cannot become one of"),
        (1.0, "deep", "cannot become one of"),
        (1.0, "late", "has no stage2_block2"),
        (1.0, "inverted", "has no"),
    ],
)
def test_what_is_no_larger_form_of_the_start_is_refused(width: float, shape: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grow(load_network(SMALL), build("mien_net", width=width, shape=shape), seed=0)


def test_other_networks_do_not_grow() -> None:
    with pytest.raises(ValueError, match="a cnn cannot grow into a cnn, only mien_net can"):
        grow(build("cnn", width=0.125), build("cnn", width=0.25), seed=0)


def test_a_run_starts_from_a_smaller_network(tmp_path: Path) -> None:
    data = make_data()
    # Almost nothing is learnt, and batch statistics are measured anew in both: the answers are the same.
    config = TrainingConfig(model="mien_net", shape="small", epochs=1, learning_rate=1e-9)
    small = train(divide(data, config), config, tmp_path / "small", {}, start=SMALL)
    config = replace(config, shape="small-late")
    large = train(divide(data, config), config, tmp_path / "large", {}, start=SMALL)
    np.testing.assert_allclose(answers(load_network(large)), answers(load_network(small)), atol=1e-4)
