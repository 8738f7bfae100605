"""ResEmoteNet: convolutions, squeeze-and-excitation, residual blocks.

Roy, Kathania, Sharma and others 2024, arXiv:2409.10545. Their code trains on colour images and has
dropout after the first two poolings; here, as in the paper behind this project, the network takes
48x48 gray ones and has dropout between the dense layers alone.
"""

from typing import Any

import keras
from keras import layers

from mien.emotions import EMOTIONS
from train.models import scaled

STEM_FILTERS = (64, 128, 256)
RESIDUAL_FILTERS = (512, 1024, 2048)
DENSE_UNITS = (1024, 512, 256)
DROPOUT = 0.5
SQUEEZE_RATIO = 16


def build(size: int = 48, width: float = 1.0, dropout: float = 1.0) -> keras.Model:
    """Build ResEmoteNet: 80 M parameters and 239 M multiply-adds at width 1.0.

    Three 3x3 convolutions, each with batch normalization, ReLU and max pooling;
    squeeze-and-excitation; three residual blocks with stride 2; global average pooling; three dense
    layers with dropout. Input (N, size, size, 1), gray levels 0-255, scaled inside the graph; output
    (N, 7), softmax. The arguments are those of `train.models.build`; `width` scales the filters, not
    the dense layers: with few units their dropout of a half would leave too little to learn with.
    """
    image = x = keras.Input((size, size, 1), name="image")
    x = layers.Rescaling(1 / 255)(x)
    for filters in STEM_FILTERS:
        x = layers.Conv2D(scaled(filters, width), 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = _squeeze_and_excite(x)
    for filters in RESIDUAL_FILTERS:
        x = _residual_block(x, scaled(filters, width))
    x = layers.GlobalAveragePooling2D()(x)
    for units in DENSE_UNITS:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(DROPOUT * dropout)(x)
    # float32 even in mixed precision: bfloat16 probabilities would be off by up to 0.004
    probabilities = layers.Dense(len(EMOTIONS), activation="softmax", dtype="float32")(x)
    return keras.Model(image, probabilities, name="resemotenet")


def _squeeze_and_excite(x: Any) -> Any:
    """Weigh the channels by what all of the image holds (Hu et al. 2018, arXiv:1709.01507)."""
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Dense(max(4, channels // SQUEEZE_RATIO), activation="relu", use_bias=False)(weights)
    weights = layers.Dense(channels, activation="sigmoid", use_bias=False)(weights)
    return layers.Multiply()([x, weights])


def _residual_block(x: Any, filters: int) -> Any:
    """Two 3x3 convolutions, the first with stride 2, beside a 1x1 one (He et al. 2016, arXiv:1512.03385)."""
    shortcut = layers.Conv2D(filters, 1, strides=2)(x)
    shortcut = layers.BatchNormalization()(shortcut)
    # Padding on all sides, as in PyTorch; "same" would look one pixel beside the shortcut.
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(filters, 3, strides=2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(filters, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(layers.Add()([x, shortcut]))
