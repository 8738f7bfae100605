"""The plain CNN of the paper behind this project: three stages of two 3x3 convolutions."""

import keras
from keras import layers

from mien.emotions import EMOTIONS
from train.models import scaled

STAGES = ((64, 0.25), (128, 0.35), (256, 0.45))
"""(filters, dropout after the stage); the paper lets dropout rise from 0.25 to 0.45."""


def build(size: int = 48, width: float = 1.0, dropout: float = 1.0) -> keras.Model:
    """Build the paper's CNN: 1.18 M parameters, 340 M multiply-adds.

    Input (N, size, size, 1), gray levels 0-255; the scaling to [0, 1] is part of the graph, so that
    an int8 input is the gray level minus 128. Output (N, 7), softmax. The arguments are those of
    `train.models.build`.
    """
    image = x = keras.Input((size, size, 1), name="image")
    x = layers.Rescaling(1 / 255)(x)
    for filters, rate in STAGES:
        for _ in range(2):
            x = layers.Conv2D(scaled(filters, width), 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(rate * dropout)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(128)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(0.45 * dropout)(x)
    # float32 even in mixed precision: bfloat16 probabilities would be off by up to 0.004
    probabilities = layers.Dense(len(EMOTIONS), activation="softmax", dtype="float32")(x)
    return keras.Model(image, probabilities, name="cnn")
