"""The networks are those of the papers, and cost what `--list` says."""

import pytest

from mien.card import find_model
from tests.conftest import REPOSITORY, require_module

keras = require_module("keras")

from train.complexity import measure_complexity, table
from train.models import MODELS, build
from train.models.shapes import SHAPES

pytestmark = pytest.mark.tensorflow


def kinds(network: object) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]  # type: ignore[attr-defined]


def test_the_cnn_is_the_papers() -> None:
    cnn = build("cnn")
    assert cnn.count_params() == 1_182_151
    convolution = ["Conv2D", "BatchNormalization", "ReLU"]
    stage = [*convolution, *convolution, "MaxPooling2D", "Dropout"]
    head = ["GlobalAveragePooling2D", "Dense", "BatchNormalization", "ReLU", "Dropout", "Dense"]
    assert kinds(cnn) == ["InputLayer", "Rescaling", *stage * 3, *head]
    filters = [layer.filters for layer in cnn.layers if isinstance(layer, keras.layers.Conv2D)]
    assert filters == [64, 64, 128, 128, 256, 256]
    dropouts = [layer.rate for layer in cnn.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == [0.25, 0.35, 0.45, 0.45]


def test_resemotenet_is_the_published_one() -> None:
    network = build("resemotenet")
    assert network.count_params() == 80_259_847
    stage = ["Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D"]
    squeeze = ["GlobalAveragePooling2D", "Dense", "Dense", "Multiply"]
    main = [
        "ZeroPadding2D",
        "Conv2D",
        "BatchNormalization",
        "ReLU",
        "Conv2D",
        "Conv2D",
        "BatchNormalization",
        "BatchNormalization",
    ]
    block = [*main, "Add", "ReLU"]
    head = ["GlobalAveragePooling2D", *["Dense", "Dropout"] * 3, "Dense"]
    assert kinds(network) == ["InputLayer", "Rescaling", *stage * 3, *squeeze, *block * 3, *head]
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    plain = [layer.filters for layer in convolutions if layer.kernel_size == (3, 3)]
    assert plain == [64, 128, 256, 512, 512, 1024, 1024, 2048, 2048]
    shortcuts = [(layer.filters, layer.strides) for layer in convolutions if layer.kernel_size == (1, 1)]
    assert shortcuts == [(512, (2, 2)), (1024, (2, 2)), (2048, (2, 2))]
    dense = [layer.units for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    assert dense == [16, 256, 1024, 512, 256, 7]
    assert [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)] == [0.5] * 3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [32, 48])
def test_weights_are_the_same_for_every_size_and_any_dropout(name: str, size: int) -> None:
    network, other = build(name, size, width=0.25), build(name, width=0.25, dropout=0.0)
    assert network.input_shape == (None, size, size, 1)
    assert network.output_shape == (None, 7)
    assert [weight.shape for weight in network.weights] == [weight.shape for weight in other.weights]
    assert not any(layer.rate for layer in other.layers if isinstance(layer, keras.layers.Dropout))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_mien_net_is_small(shape: str) -> None:
    network = build("mien_net", shape=shape)
    cost = measure_complexity(network)
    assert cost.parameters <= 1_000_000
    assert cost.multiply_adds <= 60_000_000
    assert cost.int8_bytes <= 1_000_000
    assert network.output_shape == (None, 7)


def test_mien_net_is_made_of_what_int8_kernels_run_fast() -> None:
    network = build("mien_net")
    allowed = {"InputLayer", "Rescaling", "Conv2D", "BatchNormalization", "ReLU", "Add"}
    assert set(kinds(network)[:-3]) == allowed
    assert kinds(network)[-3:] == ["GlobalAveragePooling2D", "Dropout", "Dense"]
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.kernel_size for layer in convolutions} == {(1, 1), (3, 3)}
    # by hand: a stem of 16, then 32, 64, 64, 128, 128 filters on sides of 24, 12, 12, 6, 6
    stem = 48 * 48 * 9 * 16
    halving = [
        side * side * (9 * before * after + 9 * after * after + before * after)
        for side, before, after in ((24, 16, 32), (12, 32, 64), (6, 64, 128))
    ]
    keeping = 12 * 12 * 18 * 64 * 64 + 6 * 6 * 18 * 128 * 128
    assert measure_complexity(network).multiply_adds == stem + sum(halving) + keeping + 128 * 7


def test_mini_xception_is_the_published_one() -> None:
    network = build("mini_xception")
    assert network.count_params() == 58_423
    sides = [layer.output.shape[1] for layer in network.layers if isinstance(layer, keras.layers.Add)]
    assert sides == [30, 15, 8, 4]  # of 64 pixels, without padding in the first two convolutions


def test_separable_convolutions_are_counted() -> None:
    image = keras.Input((8, 8, 4))
    x = keras.layers.SeparableConv2D(6, 3, padding="same")(image)
    x = keras.layers.DepthwiseConv2D(3, 2, padding="same")(x)
    cost = measure_complexity(keras.Model(image, x))
    assert cost.multiply_adds == 64 * (9 * 4 + 4 * 6) + 16 * 9 * 6


def test_the_cost_is_that_of_the_files_we_ship() -> None:
    cost = measure_complexity(build("cnn"))
    # by hand: 48x48x9x(64 + 64x64) + 24x24x9x(64x128 + 128x128) + 12x12x9x(128x256 + 256x256) + 256x128 + 128x7
    assert cost.multiply_adds == 341_099_392
    assert cost.int8_bytes == pytest.approx(find_model("cnn_int8").stat().st_size, rel=0.02)
    assert cost.float_bytes == pytest.approx((REPOSITORY / "models/cnn/cnn_float32.tflite").stat().st_size, rel=0.02)


def test_the_narrow_resemotenet_fits_a_small_device() -> None:
    network = build("resemotenet", width=0.24)
    units = [layer.units for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    assert units[2:] == [1024, 512, 256, 7]  # width scales the filters alone
    cost = measure_complexity(network)
    assert cost.int8_bytes < 6e6
    assert cost.multiply_adds < 16e6
    lines = table().splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["cnn", "1.00"],
        ["resemotenet", "1.00"],
        ["mien_net", "1.00"],
        ["mini_xception", "1.00"],
        ["resemotenet", "0.24"],
        ["finder", "1.00"],
    ]
    assert "80.26 M" in lines[2]
    assert "239.5 M" in lines[2]
