"""MienNet: a residual network for int8 on small processors, in the shapes of `train.models.shapes`.

Basic residual blocks (He et al. 2015, *Deep Residual Learning for Image Recognition*, arXiv:1512.03385)
from what int8 kernels run fast: 3x3 and 1x1 convolutions, ReLU, additions. The stem keeps all 48
pixels. The other kinds of blocks are for comparison (`python -m benchmarks pareto`): inverted ones
(Sandler et al. 2018, arXiv:1801.04381), separable ones (Chollet 2016, arXiv:1610.02357), and
squeeze-and-excitation (Hu et al. 2017, arXiv:1709.01507).
"""

from typing import Any

import keras
from keras import layers

from mien.emotions import EMOTIONS
from train.models import scaled
from train.models.shapes import SHAPES

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
    form = SHAPES[shape]
    block = BLOCKS[form.block]
    image = keras.Input((size, size, 1), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = _convolution(x, scaled(form.stem, width), strides=form.stem_stride)
    for number, (filters, blocks) in enumerate(form.stages):
        for index in range(blocks):
            halves = index == 0 and not (number == 0 and form.stem_stride == 2)
            x = block(x, scaled(filters, width), 2 if halves else 1, form.squeeze)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(DROPOUT * dropout)(x)
    # float32 even in mixed precision: bfloat16 probabilities would be off by up to 0.004
    probabilities = layers.Dense(len(EMOTIONS), activation="softmax", dtype="float32")(x)
    return keras.Model(image, probabilities, name="mien_net")


def _residual(x: Any, filters: int, strides: int, squeeze: bool) -> Any:
    """Two 3x3 convolutions beside the identity, which a 1x1 convolution fits where the form changes."""
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _convolution(x, filters, kernel=1, strides=strides, relu=False)
    x = _convolution(x, filters, strides=strides)
    x = _convolution(x, filters, relu=False)
    return layers.ReLU()(layers.Add()([_squeeze(x) if squeeze else x, shortcut]))


def _inverted(x: Any, filters: int, strides: int, squeeze: bool) -> Any:
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1 without ReLU."""
    before = x
    x = _convolution(x, EXPANSION * x.shape[-1], kernel=1)
    x = _depthwise(x, strides)
    x = _convolution(_squeeze(x) if squeeze else x, filters, kernel=1, relu=False)
    return layers.Add()([x, before]) if x.shape == before.shape else x


def _separable(x: Any, filters: int, strides: int, squeeze: bool) -> Any:
    """Two pairs of a depthwise 3x3 and a 1x1 convolution beside the identity."""
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _convolution(x, filters, kernel=1, strides=strides, relu=False)
    x = _convolution(_depthwise(x, strides), filters, kernel=1)
    x = _convolution(_depthwise(x, 1), filters, kernel=1, relu=False)
    return layers.ReLU()(layers.Add()([_squeeze(x) if squeeze else x, shortcut]))


BLOCKS = {"residual": _residual, "inverted": _inverted, "separable": _separable}


def _convolution(x: Any, filters: int, kernel: int = 3, strides: int = 1, relu: bool = True) -> Any:
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if relu else x


def _depthwise(x: Any, strides: int) -> Any:
    x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _squeeze(x: Any) -> Any:
    filters = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(max(8, filters // SQUEEZE_RATIO), 1, activation="relu")(gate)
    gate = layers.Conv2D(filters, 1, activation="sigmoid")(gate)
    return layers.Multiply()([x, gate])
