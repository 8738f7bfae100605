"""The steps between a float file and an integer one."""

from typing import Any

import numpy as np
import pytest

from tests.conftest import require_module

keras = require_module("keras")
require_module("tensorflow")
require_module("litert_quantizer")

from convert.debugging import measure_layer_errors
from convert.flatbuffer import read_graph
from convert.inspection import inspect
from convert.quantization import layers_of, measure_ranges, quantize, to_float32
from mien.card import find_model
from mien.interpreter import TFLiteModel

pytestmark = pytest.mark.tensorflow


def build_network(dead_bias: float = 0.0) -> Any:
    """Build a network of one convolution, whose first channel is dead: it has no weights, but a bias."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, name="convolution"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", name="dense"),
        ],
        name="tiny",
    )
    kernel, bias = network.get_layer("convolution").get_weights()
    kernel[..., 0], bias[0] = 0, dead_bias
    network.get_layer("convolution").set_weights([kernel, bias])
    return network


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (30, 48, 48, 1), np.uint8)


@pytest.fixture(scope="module")
def float32() -> bytes:
    return to_float32(build_network())


@pytest.mark.parametrize("bias", [0.0, 0.1, 2.0])
def test_the_bias_of_a_dead_channel_is_not_cut_off(images: np.ndarray, bias: float) -> None:
    file = to_float32(build_network(bias))
    int8 = quantize(file, "int8", measure_ranges(file, images))
    answers = [TFLiteModel(content).predict(images) for content in (file, int8)]
    # Two layers and a softmax of 8 bits: two steps of 1/256; a bias that is cut off costs ten and more.
    np.testing.assert_allclose(answers[1], answers[0], atol=2 / 256)


def test_ranges_are_those_of_the_images_and_the_input_is_all_gray_levels(float32: bytes, images: np.ndarray) -> None:
    ranges = measure_ranges(float32, images // 2)
    graph = read_graph(float32)
    assert ranges[graph.tensors[graph.inputs[0]].name] == (0.0, 255.0)
    logits = next(operator for operator in graph.operators if operator.name == "FULLY_CONNECTED")
    low, high = ranges[graph.tensors[logits.outputs[0]].name]
    probability = ranges[graph.tensors[graph.outputs[0]].name]
    answers = TFLiteModel(float32).predict(images // 2)
    # The same sums in another order.
    assert list(probability) == pytest.approx([answers.min(), answers.max()], abs=1e-5)
    assert low < high


def test_a_percentile_leaves_out_what_is_rare(float32: bytes, images: np.ndarray) -> None:
    dark = images // 16
    dark[0, 24, 24] = 255  # one pixel of 69,120
    whole, cut = (measure_ranges(float32, dark, method) for method in ("min-max", "percentile"))
    graph = read_graph(float32)
    name = graph.tensors[graph.operators[0].outputs[0]].name
    assert whole[name][0] == cut[name][0] == 0  # ReLU
    assert 0 < cut[name][1] < 0.5 * whole[name][1]
    source = graph.tensors[graph.inputs[0]].name
    assert whole[source] == cut[source] == (0.0, 255.0)


def test_fused_layers_keep_their_names(float32: bytes) -> None:
    graph = read_graph(float32)
    names = [layers_of(graph.tensors[operator.outputs[0]].name) for operator in graph.operators]
    assert {"convolution", "relu"} <= set(names[0])
    assert ["dense"] in names


def test_layers_are_ranked_by_what_int8_loses(float32: bytes, images: np.ndarray) -> None:
    ranges = measure_ranges(float32, images)
    int8 = quantize(float32, "int8", ranges)
    errors = measure_layer_errors(float32, int8, images)
    assert [entry.error for entry in errors] == sorted((entry.error for entry in errors), reverse=True)
    assert {entry.operator for entry in errors} == {"CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"}
    assert all(0 < entry.error < 0.1 for entry in errors)  # 8 bits: 0.4 % of the range, 1 to 2 % of the values
    coarse = quantize(
        float32, "int8", {name: (8 * low, 8 * high) for name, (low, high) in measure_ranges(float32, images).items()}
    )
    assert measure_layer_errors(float32, coarse, images)[0].error > errors[0].error


def test_inspect_counts_what_one_inference_takes(float32: bytes, images: np.ndarray) -> None:
    int8 = quantize(float32, "int8", measure_ranges(float32, images))
    text = inspect(int8)
    lines = text.splitlines()
    assert lines[0].endswith("1x48x48x1 INT8, scale 1, zero point -128")
    convolution = next(line.split() for line in lines if "CONV_2D" in line)
    assert convolution[1:4] == ["CONV_2D", "1x46x46x4", "INT8"]
    assert convolution[-1] == f"{46 * 46 * 4 * 9:,}"
    assert convolution[-2] == "4"  # scales, one a channel
    assert f"{(46 * 46 * 4 * 9 + 12) / 1e6:.2f} M multiply-adds" in lines
    assert "4 operators, 0 of them in floating point" in lines
    # The input and the first convolution's output are there at once.
    assert f"{(48 * 48 + 46 * 46 * 4) / 1e3:,.1f} kB of activations at once, at the least" in lines


@pytest.mark.parametrize("name", ["cnn_int8", "mien_net_int8"])
def test_inspect_sees_the_weights_of_our_own_files(name: str) -> None:
    content = find_model(name).read_bytes()
    graph = read_graph(content)
    weights = sum(tensor.size_bytes for tensor in graph.tensors if tensor.is_constant)
    assert 0.9 * len(content) < weights < len(content)  # large ones stand behind the flatbuffer
    assert not graph.float_operators()


@pytest.mark.parametrize("damage", ["cut", "noise", "text"])
def test_a_damaged_file_is_refused_in_one_line(float32: bytes, damage: str) -> None:
    content = {
        "cut": float32[:200],
        "noise": float32[:8] + bytes(range(256)) * 4,
        "text": b"buy milk, and something else",
    }[damage]
    with pytest.raises(ValueError, match="TFLite model") as caught:
        inspect(content)
    assert len(str(caught.value).splitlines()) == 1
