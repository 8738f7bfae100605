"""The networks that `python -m train` knows: one module each, named like the network."""

from importlib import import_module
from typing import Any

MODELS = ("cnn", "resemotenet", "mien_net", "mini_xception")


def build(name: str, size: int = 48, width: float = 1.0, dropout: float = 1.0, shape: str = "base") -> Any:
    """Build a network of `MODELS`, untrained.

    Args:
        name: one of `MODELS`.
        size: side of the images in pixels; the weights are the same for every size.
        width: factor on the number of filters; 1.0 is the published network.
        dropout: factor on the network's own dropout rates.
        shape: of mien_net, one of `train.models.shapes.SHAPES`; the others have but one.

    Returns:
        A keras.Model from (N, size, size, 1) gray levels 0-255 to (N, 7) probabilities in the order
        of EMOTIONS.
    """
    # Imported here, so that naming the networks does not cost the seconds that Keras takes.
    options = {"shape": shape} if name == "mien_net" else {}
    return import_module(f"train.models.{name}").build(size=size, width=width, dropout=dropout, **options)


def scaled(filters: int, width: float) -> int:
    """Return a number of filters times `width`, as a multiple of 8, which int8 kernels like."""
    return max(8, round(filters * width / 8) * 8)
