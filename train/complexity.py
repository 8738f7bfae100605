"""What a network costs: parameters, multiply-adds and the size of its files."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from train.models import MODELS, build
from train.models.finder import build as build_finder
from train.models.folding import FoldingConv2D

OVERHEAD_BYTES = 4_000
"""What a flatbuffer holds besides the weights, for a plain network."""


@dataclass(frozen=True)
class Complexity:
    """A network's cost.

    Attributes:
        parameters: of the Keras model, batch statistics included.
        multiply_adds: of one image, in convolutions and dense layers.
        float_bytes: estimated size of the float32 `.tflite` file.
        int8_bytes: estimated size of the int8 one.
    """

    parameters: int
    multiply_adds: int
    float_bytes: int
    int8_bytes: int


def measure_complexity(network: keras.Model) -> Complexity:
    """Count a network's cost; batch normalization counts as folded into the convolution before it."""
    multiply_adds = weights = outputs = 0
    for layer in network.layers:
        positions = math.prod(layer.output.shape[1:3]) if len(layer.output.shape) == 4 else 1
        for kernel, channels in _kernels(layer):
            multiply_adds += positions * math.prod(kernel.shape)
            weights += math.prod(kernel.shape)
            outputs += channels
    return Complexity(
        parameters=network.count_params(),
        multiply_adds=multiply_adds,
        float_bytes=4 * weights + 4 * outputs + OVERHEAD_BYTES,
        # Per output channel: an int32 bias, a float32 scale and an int64 zero point for each of the two.
        int8_bytes=weights + (4 + 2 * 12) * outputs + 2 * OVERHEAD_BYTES,
    )


def _kernels(layer: keras.layers.Layer) -> list[tuple[Any, int]]:
    """Return a layer's kernels, each with the number of its output channels."""
    if isinstance(layer, keras.layers.SeparableConv2D):
        depthwise, pointwise = layer.depthwise_kernel, layer.pointwise_kernel
        return [(depthwise, depthwise.shape[2] * depthwise.shape[3]), (pointwise, pointwise.shape[3])]
    if isinstance(layer, FoldingConv2D):
        return [(layer.large.kernel, layer.filters)]  # all branches are in it
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [(layer.kernel, layer.kernel.shape[2] * layer.kernel.shape[3])]
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return [(layer.kernel, layer.kernel.shape[-1])]
    return []


def table(width: float = 1.0, shape: str = "base") -> str:
    """Return the cost of all our networks as text; ResEmoteNet also as narrow as a small device wants it.

    Args:
        width: of the networks.
        shape: of mien_net.
    """
    lines = ["model          width   parameters   multiply-adds   float file   int8 file"]
    wide = [(name, width) for name in MODELS]
    narrow = [] if width == 0.24 else [("resemotenet", 0.24)]
    networks = [(name, factor, build(name, width=factor, shape=shape)) for name, factor in [*wide, *narrow]]
    networks.append(("finder", 1.0, build_finder(120, 160)))  # at 160x120
    for name, factor, network in networks:
        cost = measure_complexity(network)
        lines.append(
            f"{name:<13} {factor:>6.2f} {cost.parameters / 1e6:>10.2f} M {cost.multiply_adds / 1e6:>13.1f} M "
            f"{cost.float_bytes / 1e6:>9.2f} MB {cost.int8_bytes / 1e6:>8.2f} MB"
        )
    return "\n".join(lines)
