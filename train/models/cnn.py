"""The plain CNN of the paper behind this project: three stages of two 3x3 convolutions."""

import keras
from keras import layers

from mien.emotions import EMOTIONS

STAGES = ((64, 0.25), (128, 0.35), (256, 0.45))
"""(filters, dropout after the stage); the paper lets dropout rise from 0.25 to 0.45."""


def build() -> keras.Model:
    """Build the paper's CNN: 1.18 M parameters, 340 M multiply-adds.

    Input (N, 48, 48, 1), gray levels 0-255; the scaling to [0, 1] is part of the graph, so that
    an int8 input is the gray level minus 128. Output (N, 7), softmax.
    """
    image = x = keras.Input((48, 48, 1), name="image")
    x = layers.Rescaling(1 / 255)(x)
    for filters, dropout in STAGES:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(dropout)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(128)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(0.45)(x)
    # float32 even in mixed precision: bfloat16 probabilities would be off by up to 0.004
    probabilities = layers.Dense(len(EMOTIONS), activation="softmax", dtype="float32")(x)
    return keras.Model(image, probabilities, name="cnn")
