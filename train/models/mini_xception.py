"""mini-XCEPTION: the small network that most projects with live video ship, for comparison.

Arriaga, Valdenegro-Toro and Plöger 2017, *Real-time Convolutional Neural Networks for Emotion and Gender
Classification*, arXiv:1710.07557; the arrangement is that of their code, `face_classification`.
"""

from typing import Any

import keras
from keras import layers

from mien.emotions import EMOTIONS
from train.models import scaled

PUBLISHED_SIZE = 64
FILTERS = (16, 32, 64, 128)


def build(size: int = 48, width: float = 1.0, dropout: float = 1.0) -> keras.Model:
    """Build mini-XCEPTION: 58 k parameters.

    It takes images of 64 pixels, into which the graph scales ours; gray levels 0-255 become [-1, 1].
    Output (N, 7), softmax. The arguments are those of `train.models.build`; it has no dropout.
    """
    image = keras.Input((size, size, 1), name="image")
    side = round(size * PUBLISHED_SIZE / 48)
    x = layers.Resizing(side, side)(image)
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    for _ in range(2):
        x = layers.Conv2D(8, 3, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    for filters in FILTERS:
        x = _block(x, scaled(filters, width))
    x = layers.Conv2D(len(EMOTIONS), 3, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    probabilities = layers.Activation("softmax", dtype="float32")(x)
    return keras.Model(image, probabilities, name="mini_xception")


def _block(x: Any, filters: int) -> Any:
    shortcut = layers.Conv2D(filters, 1, 2, padding="same", use_bias=False)(x)
    shortcut = layers.BatchNormalization()(shortcut)
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Add()([layers.MaxPooling2D(3, 2, padding="same")(x), shortcut])
