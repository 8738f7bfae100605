"""Keras -> TFLite, and from its float32 file to float16, dynamic range, int8 and int16x8.

TensorFlow's converter writes the float32 file; `litert-quantizer` makes the others from it
(docs/decisions/0008-quantizer.md says why).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from litert_quantizer import qtyping, recipe
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.qtyping import TFLOperationName
from litert_quantizer.quantizer import Quantizer
from litert_quantizer.recipe_manager import RecipeManager

from convert.flatbuffer import FLOAT_TYPES, Graph, read_graph

Ranges = dict[str, tuple[float, float]]
Images = npt.NDArray[np.uint8]

PERCENTILE = 99.99
"""Of all values of a tensor; what lies beyond is clipped. TensorRT's documentation recommends it."""

FLOAT16_OPERATORS = (
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.CONV_2D_TRANSPOSE,
    TFLOperationName.FULLY_CONNECTED,
)
HISTOGRAM_BINS = 4096
MAX_BIAS = 2.0**30
"""In steps: half of what 32 bits hold, the other half is for what is added to it."""

WRAPPER = "converted"
"""Name of the model around the model: the first part of every tensor's name."""


def to_float32(model: keras.Model, shape: Sequence[int] | None = None) -> bytes:
    """Convert a Keras model with TensorFlow's converter, one image at a time.

    Args:
        model: with one input.
        shape: (height, width, channels) of the image; None for the model's own.

    Raises:
        ValueError: it has a layer that TFLite has no operator for.
    """
    # A free batch size would leave operators in the graph that compute shapes.
    image = keras.Input(batch_shape=(1, *(shape or model.input_shape[1:])), name="image")
    fixed = keras.Model(image, model(image), name=WRAPPER)
    try:
        return bytes(tf.lite.TFLiteConverter.from_keras_model(fixed).convert())
    except Exception as error:  # the converter's own classes differ between versions
        if found := re.search(r"(?:Custom|TF Select) ops: (.+)", str(error)):
            raise ValueError(
                f"{model.name} cannot be converted: TFLite has no operator for {found.group(1)}; "
                "build it from layers that TFLite knows, or move that step out of the model"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{model.name} cannot be converted ({reason}): build it from other layers") from error


def measure_ranges(float32: bytes, images: Images, method: str = "min-max") -> Ranges:
    """Run the representative dataset through the float32 file; return the range of each tensor.

    Args:
        float32: the file.
        images: (N, height, width, channels) uint8.
        method: of `convert.settings.METHODS`. "min-max" takes the least and the greatest value; "percentile" leaves
            out 0.01 % of the values on either side.

    Returns:
        Tensor's name -> (low, high). The input has (0, 255), whatever the images are, so that int8 is
        the gray level minus 128, exactly.
    """
    graph = read_graph(float32)
    names = {
        number: tensor.name
        for number, tensor in enumerate(graph.tensors)
        if not tensor.is_constant and tensor.type == "FLOAT32"
    }
    ranges = dict.fromkeys(names.values(), (np.inf, -np.inf))
    try:
        for name, values in activations(float32, images, names):
            low, high = ranges[name]
            ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"its activations cannot be measured: {reason}") from error
    outputs = {graph.tensors[number].name: ranges[graph.tensors[number].name] for number in graph.outputs}
    if method == "percentile":
        ranges = {**_percentiles(activations(float32, images, names), ranges), **outputs}
    # Probabilities are not clipped, and a picture reaches from black to white.
    return {**ranges, **{graph.tensors[number].name: (0.0, 255.0) for number in graph.inputs}}


def quantize(float32: bytes, variant: str, ranges: Ranges, keep_float: Sequence[str] = ()) -> bytes:
    """Make a variant from the float32 file.

    Args:
        float32: the file.
        variant: of `convert.settings.VARIANTS`.
        ranges: of the activations, for int8 and int16x8.
        keep_float: names of layers that int8 and int16x8 leave in floating point.

    Raises:
        ValueError: a layer to keep is not in the graph.
    """
    if variant == "float32":
        return float32
    graph = read_graph(float32)
    quantizer = Quantizer(memoryview(float32), _recipe(variant))
    if variant not in ("int8", "int16x8"):
        return _result(quantizer, None)
    for layer in keep_float:
        quantizer.update_quantization_recipe(
            scope_of(layer, graph), TFLOperationName.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE
        )
    statistics = _statistics(graph, ranges)
    if variant == "int8":  # int16x8 has biases of 64 bits
        statistics |= _widened_weights(graph, ranges)
    return _result(quantizer, statistics)


def layers_of(tensor: str) -> list[str]:
    """Return the names of the Keras layers that write a tensor, as the converter put them into its name.

    Fused layers are several: "converted_1/cnn_1/re_lu_1/Relu;converted_1/cnn_1/conv2d_1/convolution" has two. A
    model inside the model counts as a layer, before those in it.
    """
    layers: list[str] = []
    for part in reversed(tensor.split(";")):
        names = part.split("/")
        if len(names) > 3 and names[0].startswith(WRAPPER):
            # Keras makes a name unique by a number at its end, the same one in all parts.
            ending = names[0].removeprefix(WRAPPER)
            layers += [name.removesuffix(ending) for name in names[2:-1] if name.endswith(ending)]
    return list(dict.fromkeys(layers))


def check_int8(content: bytes, has_float: bool = False) -> None:
    """Check a full-integer file in the flatbuffer itself.

    Args:
        content: the file.
        has_float: whether some layers were left in floating point on purpose.

    Raises:
        ValueError: a float tensor is left, weights are not quantized per channel, or the input is not the
            gray level minus 128.
    """
    graph = read_graph(content)
    floats = [tensor.name for tensor in graph.tensors if tensor.type in FLOAT_TYPES]
    if floats and not has_float:
        operators = ", ".join(sorted({operator.name for operator in graph.float_operators()})) or "no operator"
        raise ValueError(f"{len(floats)} tensors stayed float, of {operators}; the first is {floats[0]}")
    for operator in graph.operators:
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights = graph.tensors[operator.inputs[1]]
            channels = weights.shape[-1 if operator.name == "DEPTHWISE_CONV_2D" else 0]
            if weights.type == "INT8" and len(weights.scales) != channels:
                raise ValueError(f"{weights.name} has {len(weights.scales)} scales for {channels} channels")
    source = graph.tensors[graph.inputs[0]]
    scale = float(source.scales[0]) if len(source.scales) else None
    if (scale, source.zero_point) != (1.0, -128):
        raise ValueError(f"input has scale {scale} and zero point {source.zero_point} instead of 1 and -128")


def activations(content: bytes, images: Images, names: dict[int, str]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield (name, values) of tensors of a file, for every image in turn.

    Args:
        content: the file, float32 or int8.
        images: (N, height, width, channels) uint8.
        names: number of the tensor -> its name.
    """
    # Without delegates: XNNPACK keeps what it computes to itself.
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    details = {entry["index"]: entry["quantization"] for entry in interpreter.get_tensor_details()}
    (source,) = interpreter.get_input_details()
    for image in images:
        is_int8 = source["dtype"] == np.int8
        tensor = (image ^ 0x80).view(np.int8) if is_int8 else image.astype(np.float32)
        interpreter.set_tensor(source["index"], tensor[np.newaxis])
        interpreter.invoke()
        for number, name in names.items():
            values = interpreter.get_tensor(number)
            scale, zero_point = details[number]
            yield name, (values if values.dtype == np.float32 else (values.astype(np.float32) - zero_point) * scale)


def _percentiles(values_of_all: Iterator[tuple[str, npt.NDArray[Any]]], ranges: Ranges) -> Ranges:
    counts = {name: np.zeros(HISTOGRAM_BINS, np.int64) for name in ranges}
    for name, values in values_of_all:
        low, high = ranges[name]
        if high > low:
            counts[name] += np.histogram(values, HISTOGRAM_BINS, (low, high))[0]
    cut = {}
    for name, (low, high) in ranges.items():
        shares = np.cumsum(counts[name]) / max(1, counts[name].sum())
        edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
        first = int(np.searchsorted(shares, 1 - PERCENTILE / 100, side="right"))
        last = int(np.searchsorted(shares, PERCENTILE / 100))
        # 0 must be in the range: it is the padding, and ReLU's lower end.
        cut[name] = (min(0.0, float(edges[first])), max(0.0, float(edges[min(last + 1, HISTOGRAM_BINS)])))
    return cut


def _recipe(variant: str) -> Any:
    if variant == "float16":
        weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        # Weights are stored in 16 bits and widened when the file is loaded.
        config = qtyping.OpQuantizationConfig(weight_tensor_config=weights, explicit_dequantize=True)
        manager = RecipeManager()
        for operator in FLOAT16_OPERATORS:
            manager.add_quantization_config(".*", operator, config, AlgorithmName.FLOAT_CASTING)
        return manager.get_quantization_recipe()
    if variant == "dynamic":
        # One scale for a whole dense layer: tflite-runtime 2.14 reads the first of several for all, without a word.
        dense = recipe.dynamic_wi8c_afp32(
            operation_name=TFLOperationName.FULLY_CONNECTED, granularity=qtyping.QuantGranularity.TENSORWISE
        )
        return [*recipe.dynamic_wi8_afp32(), *dense]
    if variant == "int8":
        return recipe.static_wi8_ai8()
    # Input and output stay float32: nothing reads or writes 16 bits.
    ends = [
        {"regex": ".*", "operation": end, "algorithm_key": AlgorithmName.NO_QUANTIZE, "op_config": {}}
        for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT)
    ]
    return [*recipe.static_wi8_ai16(), *ends]


def _result(quantizer: Quantizer, statistics: Any) -> bytes:
    result = quantizer.quantize(statistics, enable_progress_report=False, enable_progress_bar=False)
    return bytes(result.quantized_model)


def _statistics(graph: Graph, ranges: Ranges) -> dict[str, qtyping.QSV]:
    """Return the ranges in the quantizer's own form."""
    statistics = {}
    for tensor in graph.tensors:
        if tensor.name in ranges:
            form = (1,) * len(tensor.shape)
            low, high = ranges[tensor.name]
            statistics[tensor.name] = {"min": np.full(form, low, np.float32), "max": np.full(form, high, np.float32)}
    return statistics


def _widened_weights(graph: Graph, ranges: Ranges) -> dict[str, qtyping.QSV]:
    """Return ranges for the weights of operators with a channel whose bias would not fit into 32 bits.

    A bias is counted in steps of the input times those of the channel's weights. A dead channel has
    weights near 0, so that the steps are tiny and the bias overflows; the quantizer would cut it off.
    """
    statistics = {}
    for operator in graph.operators:
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") or len(operator.inputs) < 3:
            continue
        source, weights, bias = (graph.tensors[number] for number in operator.inputs[:3])
        if source.name not in ranges or not weights.is_constant or not bias.is_constant:
            continue
        low, high = ranges[source.name]
        input_step = (max(high, 0.0) - min(low, 0.0)) / 255
        values = np.abs(np.frombuffer(weights.content, np.float32).reshape(weights.shape))
        channel = 3 if operator.name == "DEPTHWISE_CONV_2D" else 0
        largest = values.max(axis=tuple(axis for axis in range(values.ndim) if axis != channel), keepdims=True)
        needed = 127 * np.abs(np.frombuffer(bias.content, np.float32)) / (max(input_step, 1e-12) * MAX_BIAS)
        widened = np.maximum(largest, needed.reshape(largest.shape)).astype(np.float32)
        if (widened > largest).any():
            statistics[weights.name] = {"min": -widened, "max": widened}
    return statistics


def scope_of(layer: str, graph: Graph) -> str:
    """Return a pattern that only the tensors match which a layer's operators write.

    Raises:
        ValueError: there is none.
    """
    outputs = [graph.tensors[number].name for operator in graph.operators for number in operator.outputs]
    written = [name for name in outputs if layer in layers_of(name)]
    if not written:
        known = dict.fromkeys(name for output in outputs for name in layers_of(output))
        raise ValueError(f"no operator comes from a layer {layer!r}: allowed are {', '.join(known)}")
    return "|".join(f"^{re.escape(name)};?$" for name in written)
