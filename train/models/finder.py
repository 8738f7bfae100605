"""The face finder: one picture in, maps of faces out, for int8 on small processors.

Convolutional throughout and anchor-free, as FCOS (Tian et al. 2019, arXiv:1904.01355): each stride has its
own head for faces of its own sizes, as the single-shot detectors (Liu et al. 2015, *SSD*, arXiv:1512.02325).
Few pixels wide, plain 3x3 convolutions; deeper, separable ones (Chollet 2016, arXiv:1610.02357), which keep
the file small. All in residual blocks. `mien.face_maps` says what the maps mean.
"""

from typing import Any

import keras
from keras import layers

from mien.face_maps import GEOMETRY

STRIDES = (8, 16, 32)
STEM = (16, 24)
FILTERS = (40, 72, 88)
"""At each of `STRIDES`."""

BLOCKS = 2
FEW_FACES = -4.0
"""Logit that scores begin at: most cells see none (Lin et al. 2017, *Focal Loss*, arXiv:1708.02002, section 4.1)."""


def build(height: int | None = None, width: int | None = None) -> keras.Model:
    """Build the face finder: 0.17 M parameters, 29 M multiply-adds at 160x120.

    Input (N, height, width, 1), gray levels 0-255; the scaling to [0, 1] is part of the graph. Outputs, for each of
    `STRIDES`, (N, height / stride, width / stride, 1) scores as logits and (N, ..., 14) geometry, named "scores8",
    "geometry8" and so on.

    Args:
        height: of the picture; None for any multiple of 32.
        width: the same.
    """
    image = keras.Input((height, width, 1), name="image")
    x = layers.Rescaling(1 / 255, name="scaling")(image)
    for number, filters in enumerate(STEM, 1):
        x = _convolution(x, filters, f"stem{number}", strides=2)
    outputs: dict[str, Any] = {}
    for stride, filters in zip(STRIDES, FILTERS, strict=True):
        layer = _convolution if stride == STRIDES[0] else _separable
        x = layer(x, filters, f"down{stride}", strides=2)
        for number in range(1, BLOCKS + 1):
            x = _residual(x, layer, f"stride{stride}_block{number}")
        outputs |= _head(x, stride)
    return keras.Model(image, outputs, name="finder")


def _head(x: Any, stride: int) -> dict[str, Any]:
    x = _separable(x, x.shape[-1], f"head{stride}")
    bias = keras.initializers.Constant(FEW_FACES)
    # float32 even in mixed precision: a pixel of a large face is less than bfloat16 can tell
    scores = layers.Conv2D(1, 1, bias_initializer=bias, dtype="float32", name=f"scores{stride}")(x)
    geometry = layers.Conv2D(GEOMETRY, 1, dtype="float32", name=f"geometry{stride}")(x)
    return {f"scores{stride}": scores, f"geometry{stride}": geometry}


def _residual(x: Any, layer: Any, name: str) -> Any:
    before = x
    x = layer(x, x.shape[-1], f"{name}_first")
    x = layer(x, x.shape[-1], f"{name}_second", relu=False)
    x = layers.Add(name=f"{name}_add")([x, before])
    return layers.ReLU(name=f"{name}_relu")(x)


def _convolution(x: Any, filters: int, name: str, kernel: int = 3, strides: int = 1, relu: bool = True) -> Any:
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _separable(x: Any, filters: int, name: str, strides: int = 1, relu: bool = True) -> Any:
    x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.BatchNormalization(name=f"{name}_depthwise_norm")(x)
    x = layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return _convolution(x, filters, name, kernel=1, relu=relu)
