"""A start for a larger network from a smaller one: it answers the same, and has room to learn more.

Chen et al. 2015, *Net2Net: Accelerating Learning via Knowledge Transfer*, arXiv:1511.05641. Wider: each
channel appears k times, and what reads it shares its weight out among the copies, unevenly, so that
they part as they learn. Deeper: a residual block that the smaller network lacks adds nothing at first.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

UNEVEN = 0.5
"""How unevenly weights are shared out: between 1 - UNEVEN and 1 + UNEVEN to one, before they are normalised."""


def grow(trained: keras.Model, network: keras.Model, seed: int) -> None:
    """Give `network` the weights of `trained`, a MienNet of residual blocks with fewer of them or narrower ones.

    Args:
        trained: the smaller network.
        network: the larger one; its filters are the same whole multiple of the smaller one's everywhere.
        seed: of how weights are shared out.

    Raises:
        ValueError: it is no such pair.
    """
    if not trained.name == network.name == "mien_net":
        raise ValueError(f"a {trained.name} cannot grow into a {network.name}, only mien_net can")
    rng = np.random.default_rng(seed)
    known = {layer.name: layer for layer in trained.layers}
    if lost := [layer.name for layer in trained.layers if layer.weights and layer.name not in _names(network)]:
        raise ValueError(f"the larger network has no {lost[0]}")
    for layer in network.layers:
        if not layer.weights:
            continue
        if layer.name in known:
            pairs = zip(known[layer.name].get_weights(), layer.get_weights(), strict=True)
            layer.set_weights([_widen(old, new.shape, rng) for old, new in pairs])
        elif f"{layer.name.rpartition('_block')[0]}_block1_first" not in known or layer.name.endswith("_shortcut"):
            raise ValueError(f"the smaller network has no {layer.name}")
        elif layer.name.endswith("_second_norm"):
            layer.gamma.assign(np.zeros(layer.gamma.shape))  # the new block adds nothing


def _names(network: keras.Model) -> set[str]:
    return {layer.name for layer in network.layers}


def _widen(weight: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return a weight as what reads and writes k copies of each channel has it; the last axis is written."""
    repeats = [new // old for new, old in zip(shape, weight.shape, strict=True)]
    wide: Any = np.tile(weight, repeats)
    if wide.shape != shape:
        raise ValueError(f"a weight of {weight.shape} cannot become one of {shape}")
    if weight.ndim > 1 and (copies := repeats[-2]) > 1:
        parts = rng.uniform(1 - UNEVEN, 1 + UNEVEN, (*shape[:-2], copies, shape[-2] // copies, shape[-1]))
        wide = wide * (parts / parts.sum(axis=-3, keepdims=True)).reshape(shape)
    return np.asarray(wide, np.float32)
