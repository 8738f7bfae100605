"""MienNet: a residual network for int8 on small processors, in the shapes of `train.models.shapes`.

Basic residual blocks (He et al. 2015, *Deep Residual Learning for Image Recognition*, arXiv:1512.03385)
from what int8 kernels run fast: 3x3 and 1x1 convolutions, ReLU, additions. The stem keeps all 48
pixels (but for `half`). The other kinds of blocks are for comparison (`python -m benchmarks pareto`): inverted ones
(Sandler et al. 2018, arXiv:1801.04381), separable ones (Chollet 2016, arXiv:1610.02357),
squeeze-and-excitation (Hu et al. 2017, arXiv:1709.01507), and branches that fold (`train.models.folding`).
"""

from typing import Any

import keras
from keras import layers

from mien.emotions import EMOTIONS
from train.models import scaled
from train.models.folding import FoldingConv2D, fold_into
from train.models.shapes import SHAPES, Shape, plain_shape

DROPOUT = 0.3
EXPANSION = 4
SQUEEZE_RATIO = 8


def build(size: int = 48, width: float = 1.0, dropout: float = 1.0, shape: str = "base") -> keras.Model:
    """Build MienNet.

    Input (N, size, size, 1), gray levels 0-255; the scaling to [0, 1] is part of the graph, so that
    an int8 input is the gray level minus 128. Output (N, 7), softmax. The arguments are those of
    `train.models.build`, and

    Args:
        shape: one of `SHAPES`.
    """
    return _build(SHAPES[shape], size, width, dropout)


def build_plain(network: keras.Model, width: float, dropout: float, shape: str) -> keras.Model:
    """Return a copy of a network whose branches are folded; `network` was built with these arguments."""
    plain = build(network.input_shape[1], width, dropout, plain_shape(shape))
    fold_into(network, plain)
    return plain


def _build(form: Shape, size: int, width: float, dropout: float) -> keras.Model:
    block = BLOCKS[form.block]
    image = keras.Input((size, size, 1), name="image")
    x = layers.Rescaling(1 / 255, name="scaling")(image)
    x = _convolution(x, scaled(form.stem, width), "stem", strides=form.stem_stride)
    for number, (filters, blocks) in enumerate(form.stages, 1):
        for index in range(1, blocks + 1):
            halves = index == 1 and not (number == 1 and form.stem_stride == 2)
            x = block(x, scaled(filters, width), 2 if halves else 1, form.squeeze, f"stage{number}_block{index}")
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dropout(DROPOUT * dropout, name="dropout")(x)
    # float32 even in mixed precision: bfloat16 probabilities would be off by up to 0.004
    probabilities = layers.Dense(len(EMOTIONS), activation="softmax", dtype="float32", name="emotions")(x)
    return keras.Model(image, probabilities, name="mien_net")


def _residual(x: Any, filters: int, strides: int, squeeze: bool, name: str) -> Any:
    """Two 3x3 convolutions beside the identity, which a 1x1 convolution fits where the form changes."""
    shortcut = _shortcut(x, filters, strides, name)
    x = _convolution(x, filters, f"{name}_first", strides=strides)
    x = _convolution(x, filters, f"{name}_second", relu=False)
    return _join(x, shortcut, squeeze, name)


def _folding(x: Any, filters: int, strides: int, squeeze: bool, name: str) -> Any:
    """A residual block whose 3x3 convolutions have branches while they learn."""
    shortcut = _shortcut(x, filters, strides, name)
    x = FoldingConv2D(filters, strides, name=f"{name}_first")(x)
    x = layers.ReLU(name=f"{name}_first_relu")(x)
    x = FoldingConv2D(filters, name=f"{name}_second")(x)
    return _join(x, shortcut, squeeze, name)


def _separable(x: Any, filters: int, strides: int, squeeze: bool, name: str) -> Any:
    """Two pairs of a depthwise 3x3 and a 1x1 convolution beside the identity."""
    shortcut = _shortcut(x, filters, strides, name)
    x = _depthwise(x, strides, f"{name}_first_depthwise")
    x = _convolution(x, filters, f"{name}_first", kernel=1)
    x = _depthwise(x, 1, f"{name}_second_depthwise")
    x = _convolution(x, filters, f"{name}_second", kernel=1, relu=False)
    return _join(x, shortcut, squeeze, name)


def _inverted(x: Any, filters: int, strides: int, squeeze: bool, name: str) -> Any:
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1 without ReLU."""
    before = x
    x = _convolution(x, EXPANSION * x.shape[-1], f"{name}_widen", kernel=1)
    x = _depthwise(x, strides, f"{name}_depthwise")
    x = _convolution(_squeeze(x, name) if squeeze else x, filters, f"{name}_narrow", kernel=1, relu=False)
    return layers.Add(name=f"{name}_add")([x, before]) if x.shape == before.shape else x


BLOCKS = {"residual": _residual, "folding": _folding, "inverted": _inverted, "separable": _separable}


def _shortcut(x: Any, filters: int, strides: int, name: str) -> Any:
    if strides == 1 and x.shape[-1] == filters:
        return x
    return _convolution(x, filters, f"{name}_shortcut", kernel=1, strides=strides, relu=False)


def _join(x: Any, shortcut: Any, squeeze: bool, name: str) -> Any:
    x = layers.Add(name=f"{name}_add")([_squeeze(x, name) if squeeze else x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def _convolution(x: Any, filters: int, name: str, kernel: int = 3, strides: int = 1, relu: bool = True) -> Any:
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _depthwise(x: Any, strides: int, name: str) -> Any:
    x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _squeeze(x: Any, name: str) -> Any:
    filters = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    gate = layers.Conv2D(max(8, filters // SQUEEZE_RATIO), 1, activation="relu", name=f"{name}_squeeze")(gate)
    gate = layers.Conv2D(filters, 1, activation="sigmoid", name=f"{name}_gate")(gate)
    return layers.Multiply(name=f"{name}_gated")([x, gate])
