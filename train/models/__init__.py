"""The networks that `python -m train` knows: one module each, named like the network."""

from importlib import import_module
from typing import Any

MODELS = ("cnn",)


def build(name: str) -> Any:
    """Build a network of `MODELS`, untrained.

    Returns:
        A keras.Model from (N, 48, 48, 1) gray levels 0-255 to (N, 7) probabilities in the order of
        EMOTIONS.
    """
    # Imported here, so that naming the networks does not cost the seconds that Keras takes.
    return import_module(f"train.models.{name}").build()
